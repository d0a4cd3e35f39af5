"""A check only reads, and what is committed and collected meanwhile does not disturb it."""

import threading

from storage_tools import add, documents, new_index

import weft
import weft.engine.storage.check as module
import weft.engine.storage.checking.generations as generations
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


def test_a_check_writes_nothing(index, monkeypatch):
    """As on a read-only mount, where not even pins can be written."""
    before = {path: path.stat().st_mtime_ns for path in index.rglob("*")}

    def refuse(*_, **__):
        raise weft.errors.StorageError(30, "Read-only file system")

    for name in ("create", "create_by_path", "publish", "touch", "remove", "sync_folder"):
        monkeypatch.setattr(LocalDirectory, name, refuse)
    assert weft.check(index).ok
    assert {path: path.stat().st_mtime_ns for path in index.rglob("*")} == before


def test_the_checked_generation_is_pinned(index, monkeypatch):
    """A writer commits and collects in the midst of a check."""

    directory = LocalDirectory(index, durable=False)
    original = module.SegmentCheck.run
    runs = []

    def run(self):
        if not runs:
            with Writer(directory) as writer:
                writer.commit([], delete=[f"d{n}" for n in range(15)])

                compact(writer)
            collect(directory, superseded_seconds=0, staged_seconds=0)
        runs.append(self.ref.id)
        original(self)

    monkeypatch.setattr(module.SegmentCheck, "run", run)
    assert weft.check(index).ok
    assert not list((index / "pins").iterdir())


def test_without_pins_a_collected_generation_is_checked_anew(index, monkeypatch):

    directory = LocalDirectory(index, durable=False)
    monkeypatch.setattr(generations, "write_pin", lambda *_: None)
    original = module.SegmentCheck.run
    runs = []

    def run(self):
        if not runs:
            with Writer(directory) as writer:
                compact(writer)
            collect(directory, superseded_seconds=0, staged_seconds=0)
        runs.append(self.ref.id)
        original(self)

    monkeypatch.setattr(module.SegmentCheck, "run", run)
    report = weft.check(index)
    assert report.ok and report.generation == 7


def test_checks_race_with_writers(tmp_path):
    """An index that is written, compacted and collected all the time is never called damaged."""

    directory = new_index(tmp_path / "index", flat_below_tokens=10)
    done = threading.Event()

    def write():
        with Writer(directory) as writer:
            for n in range(12):
                add(writer, documents(6, version=n), replace=True)
                if n % 4 == 3:
                    compact(writer)
                collect(directory, superseded_seconds=0)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    n_checks = 0
    while not done.is_set() or n_checks == 0:
        assert weft.check(directory.path).damage == ()
        n_checks += 1
    thread.join()
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert snapshot.n_documents == 6
    assert not list((directory.path / "pins").iterdir())
