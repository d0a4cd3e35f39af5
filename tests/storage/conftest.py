"""An index with a writer and a reader; and two writers, one of which can be held up."""

import pytest
from hooked import Hooked
from storage_tools import new_index

from weft.engine.storage import holding
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


@pytest.fixture
def directory(tmp_path):
    return new_index(tmp_path / "index")


@pytest.fixture
def writer(directory):
    with Writer(directory) as writer:
        yield writer


@pytest.fixture
def reader(directory):
    with Reader(directory) as reader:
        yield reader


@pytest.fixture
def hooked(directory):
    return Hooked(directory.path)


@pytest.fixture
def slow(hooked):
    """The writer whose calls are hooked."""
    with Writer(hooked) as writer:
        yield writer


@pytest.fixture
def quick(directory):
    """The one that goes on meanwhile."""
    with Writer(directory) as writer:
        yield writer


@pytest.fixture
def unheld(monkeypatch):
    """Whatever is added is compressed at once, as it is beyond the bound of what may be held."""
    monkeypatch.setattr(holding, "HELD_TOKENS", 0)
