"""Snapshots: one generation each, refreshed by themselves, pinned, isolated."""

import errno
import gc
import os
import threading

import numpy as np
import pytest
from storage_tools import add, contents, document, documents, make_batch, new_index

from weft.engine.errors import CorruptIndexError, SnapshotClosedError, StorageError
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import manifest_name, pinned_generation
from weft.engine.storage.pins import Renewals
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


@pytest.fixture
def directory(tmp_path):
    return new_index(tmp_path / "index", flat_below_tokens=100)


@pytest.fixture
def writer(directory):
    with Writer(directory) as writer:
        add(writer, documents(20))
        yield writer


@pytest.fixture
def reader(directory, writer):
    with Reader(directory) as reader:
        yield reader


def pinned(directory):
    return sorted(pinned_generation(name) for name in directory.list("pins"))


def test_snapshots_follow_and_stay(reader, writer):
    seen = []
    for n in range(4):
        snapshot = reader.snapshot()
        seen.append((snapshot, contents(snapshot)))
        add(writer, [document("d0", n + 1), document(f"new{n}")], replace=True)
        writer.commit([], delete=[f"d{n + 1}"])
        if n == 2:
            compact(writer)
    assert [snapshot.generation for snapshot, _ in seen] == [2, 4, 6, 9]
    for snapshot, expected in seen:
        assert contents(snapshot) == expected
        snapshot.close()
    with reader.snapshot() as newest:
        assert newest.generation == 11
        assert contents(newest)["d0"] == document("d0", 4)


def test_snapshots_of_one_generation_share_everything(reader, writer):
    with reader.snapshot() as first, reader.snapshot() as second:
        assert first.segments is second.segments
        add(writer, documents(2, first=50))
        with reader.snapshot() as third:
            assert third.segments[0].files is first.segments[0].files
            assert third.segments[0].passages is first.segments[0].passages
    assert reader.snapshot().generation == 3


def test_two_readers_see_each_commit(reader, writer, directory):
    with Reader(directory, mmap=False) as other:
        for n in range(3):
            result = add(writer, documents(1, first=100 + n))
            assert reader.snapshot().generation == other.snapshot().generation == result.generation


def test_alive_bitmaps_follow_the_tombstones(reader, writer):
    with reader.snapshot() as before:
        assert before.segments[0].alive is None and before.segments[0].alive_documents is None
        writer.commit([], delete=["d3", "d5"])
        with reader.snapshot() as after:
            view = after.segments[0]
            dead = np.flatnonzero(~view.alive_documents)
            assert dead.tolist() == [3, 5]
            assert np.array_equal(~view.alive, np.isin(view.passage_document, dead))
            add(writer, documents(1, first=90))
            with reader.snapshot() as later:
                assert later.segments[0].alive_documents is view.alive_documents
        assert before.segments[0].alive is None


def test_a_closed_snapshot(reader):
    snapshot = reader.snapshot()
    snapshot.close()
    snapshot.close()
    for name in ("manifest", "generation", "codec", "segments", "n_documents", "n_tokens"):
        with pytest.raises(SnapshotClosedError, match="closed"):
            getattr(snapshot, name)
    with pytest.raises(SnapshotClosedError):
        snapshot.sizes()


def test_a_closed_reader(directory, writer):
    reader = Reader(directory)
    snapshot = reader.snapshot()
    reader.close()
    reader.close()
    with pytest.raises(SnapshotClosedError):
        reader.snapshot()
    assert len(contents(snapshot)) == 20
    store = snapshot.segments[0].passages
    snapshot.close()
    with pytest.raises(SnapshotClosedError):
        store.document(0)


def test_pins_come_and_go(reader, writer, directory):
    own = pinned(directory)
    with reader.snapshot():
        assert pinned(directory) == own
        add(writer, documents(1, first=50))
        assert reader.refresh() == 3
        assert pinned(directory).count(2) == 2
    assert pinned(directory).count(2) == 1
    forgotten = reader.snapshot()
    add(writer, documents(1, first=51))
    reader.refresh()
    del forgotten
    gc.collect()
    reader.refresh()
    assert pinned(directory).count(2) == 0
    reader.close()
    writer.close()
    assert pinned(directory) == []


def test_a_pinned_snapshot_survives_compaction_and_collection(reader, writer, directory):
    with reader.snapshot() as old:
        writer.commit([], delete=[f"d{n}" for n in range(10)])
        assert compact(writer).committed
        writer.collect(superseded_seconds=0, staged_seconds=0)
        assert contents(old) == {d.id: d for d in documents(20)}
        with reader.snapshot() as new:
            assert set(contents(new)) == {f"d{n}" for n in range(10, 20)}
        assert len(directory.list("segments")) == 2
    writer.collect(superseded_seconds=0)
    assert len(directory.list("segments")) == 1


class ReadOnly(LocalDirectory):
    """A read-only mount."""

    def create(self, name, *, durable=True):
        raise StorageError(errno.EROFS, "Read-only file system", name)

    def touch(self, name):
        raise StorageError(errno.EROFS, "Read-only file system", name)

    remove = publish = touch


def test_a_read_only_file_system(directory, writer):
    pins = pinned(directory)
    with Reader(ReadOnly(directory.path)) as reader:
        for n in range(3):
            with reader.snapshot() as snapshot:
                assert snapshot.generation == 2 + n
                assert len(contents(snapshot)) == 20 + n
                assert reader.renew()
            add(writer, documents(1, first=50 + n))
        assert len(pinned(directory)) == len(pins)


def test_an_unpinned_reader_finds_its_way_after_collection(directory, writer):
    with Reader(ReadOnly(directory.path)) as reader:
        reader.snapshot().close()
        for n in range(5):
            add(writer, documents(1, first=50 + n))
        writer.collect(superseded_seconds=0)
        assert not directory.exists(manifest_name(3))
        with reader.snapshot() as snapshot:
            assert snapshot.generation == 7 and len(contents(snapshot)) == 25


def test_a_lost_pin_is_written_again(reader, writer, directory):
    with reader.snapshot() as snapshot:
        add(writer, documents(1, first=50))
        for name in directory.list("pins"):
            directory.remove(f"pins/{name}")
        assert reader.renew()
        assert 2 in pinned(directory)
        assert len(contents(snapshot)) == 20


def test_a_snapshot_whose_generation_was_collected_says_so(reader, writer, directory):
    snapshot = reader.snapshot()
    writer.commit([], delete=["d0"])
    compact(writer)
    reader.refresh()
    for name in directory.list("pins"):
        directory.remove(f"pins/{name}")
    writer.collect(superseded_seconds=0)
    reader.renew()
    with pytest.raises(SnapshotClosedError, match="collected"):
        _ = snapshot.segments
    snapshot.close()
    assert reader.snapshot().n_documents == 19


def test_an_idle_reader_lets_old_generations_go(reader, writer, directory):
    add(writer, documents(1, first=50))
    writer.snapshot().close()
    assert 2 in pinned(directory)
    reader.renew()
    assert 2 not in pinned(directory)


def test_renewals_keep_pins_young_and_end(directory, writer):
    with Reader(directory) as reader:
        renewed = threading.Event()
        real = reader.renew
        reader.renew = lambda: (renewed.set(), real())[1]
        renewals = Renewals(reader, seconds=0.01)
        assert renewed.wait(10)
        renewals.stop()
        renewals._thread.join(10)
        assert not renewals.running


def test_renewals_do_not_keep_their_owner(directory):
    class Owner:
        def renew(self):
            return True

    owner = Owner()
    renewals = Renewals(owner, seconds=3600)
    del owner
    gc.collect()
    renewals._thread.join(10)
    assert not renewals.running


def test_missing_files_are_named(directory, writer):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        view = snapshot.segments[0]
    folder = directory.path / "segments" / view.id
    for name in ("arrays.safetensors", "checksums.safetensors"):
        (folder / name).rename(folder / "elsewhere")
        with pytest.raises(CorruptIndexError, match=f"{name}.*missing"):
            Reader(directory)
        (folder / "elsewhere").rename(folder / name)
    (folder / "passages.sqlite").rename(folder / "elsewhere")
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert snapshot.segments[0].passages.docnos(["d1"]) == {"d1": 1}
        with pytest.raises(CorruptIndexError, match="missing"):
            snapshot.segments[0].passages.document(1)


def test_damaged_codec(directory, writer):
    compact(writer)
    (folder,) = (directory.path / "codec").iterdir()
    path = folder / "codec.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptIndexError, match="codec"):
        Reader(directory)
    path.unlink()
    with pytest.raises(CorruptIndexError, match=r"codec.*missing"):
        Reader(directory)


def test_refreshing_costs_two_look_ups(reader, monkeypatch):
    calls = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda *a, **k: calls.append(a) or real(*a, **k))
    reader.snapshot().close()
    assert len(calls) <= 2


def test_sizes_add_up_to_the_files(reader, writer, directory):
    add(writer, documents(3, first=50))
    writer.commit([], delete=["d2"])
    compact(writer)
    add(writer, documents(5, first=70))
    writer.commit([], delete=["d70"])
    with reader.snapshot() as snapshot:
        manifest = snapshot.manifest
        folders = [directory.path / "segments" / ref.id for ref in manifest.segments]
        folders.append(directory.path / "codec" / manifest.codec.id)
        files = [file for folder in folders for file in folder.iterdir()]
        files += [
            directory.path / "tombstones" / f"{t.id}.safetensors" for t in manifest.tombstones
        ]
        files.append(directory.path / manifest_name(snapshot.generation))
        sizes = snapshot.sizes()
        assert sum(sizes.values()) == sum(file.stat().st_size for file in files)
        assert sizes["residuals"] == 8 * sum(view.n_tokens for view in snapshot.segments)
        assert {"codes", "inverse_norms", "inverted_lists", "passages", "ids"} <= set(sizes)


def test_threads_share_a_reader(reader, writer):
    errors = []
    stop = threading.Event()

    def read():
        try:
            while not stop.is_set():
                with reader.snapshot() as snapshot:
                    found = contents(snapshot)
                    assert set(found) == {f"d{n}" for n in range(20)}
                    assert len({d.metadata["version"] for d in found.values()}) == 1
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for version in range(1, 8):
        writer.commit(
            writer.stage(make_batch([document(f"d{n}", version) for n in range(20)])), replace=True
        )
        if version % 3 == 0:
            compact(writer)
            writer.collect(superseded_seconds=0)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_garbage_in_the_midst_of_a_change(reader, writer, directory, monkeypatch):
    """The collector may run while the reader walks over what is open."""
    touch = LocalDirectory.touch

    def touch_and_collect(self, name):
        gc.collect()
        touch(self, name)

    kept = [reader.snapshot()]
    for n in range(3):
        add(writer, documents(1, first=50 + n))
        cycle = [reader.snapshot()]
        cycle.append(cycle)
        kept.append(reader.snapshot() if n else cycle[0])
    kept.pop(1)
    add(writer, documents(1, first=60))
    reader.refresh()
    gc.disable()
    del cycle
    monkeypatch.setattr(LocalDirectory, "touch", touch_and_collect)
    assert reader.renew()
    gc.enable()
    reader.renew()
    assert all(contents(snapshot) for snapshot in kept)
    assert pinned(directory).count(3) == 0


def test_the_last_snapshot_of_a_closed_reader(directory, writer):
    reader = Reader(directory)
    before = len(directory.list("pins"))
    snapshot = reader.snapshot()
    reader.close()
    assert len(directory.list("pins")) == before
    del reader, snapshot
    gc.collect()
    assert len(directory.list("pins")) == before - 1


def test_renewals_go_on_after_an_error(caplog):
    class Owner:
        def __init__(self):
            self.calls, self.again = 0, threading.Event()

        def renew(self):
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("the first round fails")
            self.again.set()
            return False

    owner = Owner()
    renewals = Renewals(owner, seconds=0.01)
    assert owner.again.wait(10)
    renewals._thread.join(10)
    assert "the first round fails" in caplog.text
