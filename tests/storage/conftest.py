"""An index, and two writers of it: one that can be held up, and one that goes on meanwhile."""

import pytest
from hooked import Hooked
from storage_tools import new_index

from weft.engine.storage.writer import Writer


@pytest.fixture
def directory(tmp_path):
    return new_index(tmp_path / "index")


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
    with Writer(directory) as writer:
        yield writer
