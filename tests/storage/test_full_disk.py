"""A full disk is freed by maintenance and by commits, whatever else they cannot do."""

import errno
import os
from contextlib import contextmanager

import pytest
from storage_tools import add, contents, document, documents, new_index

from weft.engine.errors import CorruptIndexError, StorageError
from weft.engine.storage import writer as writers
from weft.engine.storage.check import check
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations, submission_name
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

LATER_SECONDS = 7200
"""Past the time for which superseded generations are kept, and the lease of a claim."""


class Filling(LocalDirectory):
    """Can become full: empty files can be made still, or none where inodes are used up."""

    full = False
    without_inodes = False

    @contextmanager
    def create(self, name, *, durable=True):
        if self.full and self.without_inodes:
            raise StorageError(errno.ENOSPC, "cannot create (No space left on device)", name)
        with super().create(name, durable=durable) as file:
            yield Full() if self.full else file

    def clock_seconds(self):
        if self.full and self.without_inodes:
            raise StorageError(errno.ENOSPC, "cannot create (No space left on device)", "tmp.0")
        return super().clock_seconds() + LATER_SECONDS * self.full


class Full:
    """A file on a full disk."""

    def write_at(self, offset, data):
        if len(data):
            raise StorageError(errno.ENOSPC, "cannot write (No space left on device)", "a file")


@pytest.fixture
def directory(tmp_path):
    """Seven generations of which one is needed, and an abandoned claim that holds the floor."""
    new_index(tmp_path / "index")
    directory = Filling(tmp_path / "index", durable=False)
    with Writer(directory) as writer:
        for n in range(5):
            add(writer, documents(3, first=3 * n))
        compact(writer)
        with directory.create(submission_name(next_sequence(writer)), durable=False):
            pass
    return directory


def next_sequence(writer):
    with writer.snapshot() as snapshot:
        return snapshot.manifest.next_sequence


def held(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return set(contents(snapshot))


def test_maintenance_makes_room_although_nothing_can_be_committed(directory):
    directory.full = True
    with Writer(directory) as writer, pytest.raises(StorageError, match="cannot write"):
        maintain(writer)
    assert len(generations(directory)) == 1 and len(directory.list("segments")) == 1
    directory.full = False
    with Writer(directory) as writer:
        add(writer, [document("later")])
    assert held(directory) == {f"d{n}" for n in range(15)} | {"later"}


def test_the_first_error_is_told(directory, monkeypatch):
    """Collecting fails as well, but it is the step that maintenance was asked for."""

    def fail(*_, **__):
        raise StorageError(errno.EACCES, "cannot remove (Permission denied)", "a manifest")

    monkeypatch.setattr(writers, "collect", fail)
    directory.full = True
    with Writer(directory) as writer, pytest.raises(StorageError, match="cannot write"):
        maintain(writer)
    directory.full = False
    with Writer(directory) as writer, pytest.raises(StorageError, match="cannot remove"):
        maintain(writer)


def test_a_commit_tidies_although_the_sweep_fails(directory, monkeypatch):
    def fail(*_, **__):
        raise StorageError(errno.ENOSPC, "cannot write (No space left on device)", "a manifest")

    monkeypatch.setattr(writers, "sweep", fail)
    directory.full = True
    with Writer(directory) as writer:
        writer.tidy()
    assert len(generations(directory)) == 1


def test_a_damaged_segment_does_not_stop_collection(directory):
    """What is due to it cannot be done."""
    with Writer(directory) as writer:
        writer.commit([], delete=[f"d{n}" for n in range(14)])
        path = directory.path / "segments" / newest_segment(writer) / "passages.sqlite"
        data = bytearray(path.read_bytes())
        data[5000] ^= 1
        path.write_bytes(bytes(data))
        before = generations(directory)
        now = LocalDirectory.clock_seconds
        directory.clock_seconds = lambda: now(directory) + LATER_SECONDS
        with pytest.raises(CorruptIndexError):
            maintain(writer)
    assert len(before) > 2 and len(generations(directory)) <= 2


def newest_segment(writer):
    with writer.snapshot() as snapshot:
        return snapshot.manifest.segments[-1].id


def test_an_empty_folder_on_a_disk_without_inodes(directory):
    """It needs no mark, and stops nothing that comes after it."""
    folders = [directory.path / "segments" / (digit * 32) for digit in "01"]
    for folder in folders:
        folder.mkdir()
    (folders[1] / "arrays.safetensors").write_bytes(b"half a segment")
    for path in (folders[1] / "arrays.safetensors", *folders):
        os.utime(path, (1, 1))
    directory.full = directory.without_inodes = True
    collect(directory, superseded_seconds=0, pin_seconds=0)
    assert not folders[0].exists() and len(generations(directory)) == 1
    marks = sorted(path.name[:9] for path in folders[1].iterdir())
    assert marks == ["arrays.sa", "condemned", "condemned"]
    directory.full = False
    with Writer(directory) as writer:
        add(writer, [document("later")])
    directory.full = True
    collect(directory, superseded_seconds=0, pin_seconds=0)
    assert not folders[1].exists()
    assert check(directory).ok and "later" in held(directory)
