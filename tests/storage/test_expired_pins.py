"""A reader that was asleep for so long that its files were collected is told so."""

import pytest
from storage_tools import add, contents, document, documents, new_index

import weft
from weft.engine.errors import CorruptIndexError, SnapshotClosedError
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


@pytest.fixture
def directory(tmp_path):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        add(writer, documents(3))
        add(writer, documents(3, first=3))
    return directory


def meanwhile(directory):
    """Others merge and collect, and no pin is young enough for them."""
    with Writer(directory) as writer:
        compact(writer)
    collect(directory, superseded_seconds=0, pin_seconds=0)


@pytest.mark.parametrize("read_before", [False, True])
def test_a_snapshot_whose_files_are_gone(directory, read_before):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        passages = snapshot.segments[0].passages
        if read_before:
            passages.document(0)
            passages.rest()
        meanwhile(directory)
        with pytest.raises(SnapshotClosedError, match="take a new snapshot"):
            passages.document(1)
        with pytest.raises(SnapshotClosedError):
            snapshot.segments[1].files.verify()
        with reader.snapshot() as new:
            assert set(contents(new)) == {f"d{n}" for n in range(6)}


def test_in_the_facade(tmp_path):
    path = tmp_path / "index"
    directory = new_index(path)
    with Writer(directory) as writer:
        add(writer, documents(3))
    with weft.Index.open(path) as index, index.snapshot() as view:
        with Writer(directory) as writer:
            add(writer, [document("d0", 1)], replace=True)
        meanwhile(directory)
        with pytest.raises(SnapshotClosedError):
            view.get("d1")
        assert index.get("d1") is not None


@pytest.mark.parametrize("read_before", [False, True])
def test_a_file_that_is_lost_is_damage(directory, read_before):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        passages = snapshot.segments[0].passages
        if read_before:
            passages.document(0)
            passages.rest()
        directory.readable_path(passages.name).unlink()
        with pytest.raises(CorruptIndexError, match="missing: restore"):
            passages.document(1)


def test_a_lost_snapshot_stops_no_collection(directory):
    """It is told of, and whoever holds it for long holds nothing else."""
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        meanwhile(directory)
        assert reader.renew()
        with pytest.raises(SnapshotClosedError):
            snapshot.manifest  # noqa: B018 it is closed
        for n in range(3):
            with Writer(directory) as writer:
                add(writer, [document(f"later-{n}")])
            assert reader.renew()
            collect(directory, superseded_seconds=0)
            assert generations(directory) == [4 + n + 1]
        assert not [name for name in directory.list("pins") if name.startswith(f"{3:016d}")]


class Meanwhile(LocalDirectory):
    """Something happens right before SQLite opens a file."""

    action = None

    def readable_path(self, name):
        action, self.action = self.action, None
        if action is not None:
            action()
        return super().readable_path(name)


@pytest.mark.parametrize("what", ["collected", "lost"])
def test_a_file_that_goes_just_before_it_is_opened(directory, what):
    place = Meanwhile(directory.path, durable=False)
    with Reader(place) as reader, reader.snapshot() as snapshot:
        passages = snapshot.segments[0].passages
        if what == "collected":
            place.action = lambda: meanwhile(directory)
            error, text = SnapshotClosedError, "no pin kept it.*take a new snapshot"
        else:
            place.action = directory.readable_path(passages.name).unlink
            error, text = CorruptIndexError, "missing: restore"
        for _ in range(2):
            with pytest.raises(error, match=text):
                passages.document(0)
