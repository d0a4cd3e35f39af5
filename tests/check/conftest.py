"""An index with everything in it, built once and copied for each test."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from check_samples import build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "index")


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "index"))


@pytest.fixture
def flip() -> Callable[..., None]:
    """Turn one bit of a file."""

    def turn(path: Path, position: int = 0, bit: int = 1) -> None:
        data = bytearray(path.read_bytes())
        data[position] ^= bit
        path.write_bytes(bytes(data))

    return turn
