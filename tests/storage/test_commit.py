"""The commit itself: one winner per generation, uncertain outcomes, writers that slept."""

import errno
import multiprocessing
import threading
from dataclasses import replace

import pytest
from storage_tools import add, contents, document, documents, make_batch, new_index, work

from weft.engine.errors import (
    CommitConflictError,
    CommitUncertainError,
    CorruptIndexError,
    DuplicateDocumentError,
    StorageError,
    UnsupportedFormatError,
    WriterClosedError,
)
from weft.engine.storage import commit as commits
from weft.engine.storage import generation
from weft.engine.storage.commit import Outcome, publish
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory, SyncFailedError
from weft.engine.storage.generation import read_manifest
from weft.engine.storage.layout import generations, manifest_name, new_identifier
from weft.engine.storage.reader import Reader
from weft.engine.storage.repair import repair
from weft.engine.storage.writer import Writer


class Meddling(LocalDirectory):
    """A local directory in which one kind of call can be made to misbehave."""

    def __init__(self, path, **calls):
        super().__init__(path, durable=False)
        self.calls = calls

    def publish(self, source, name):
        self.calls.get("publish", super().publish)(source, name)

    def sync_folder(self, folder=""):
        self.calls.get("sync_folder", super().sync_folder)(folder)


@pytest.fixture
def directory(tmp_path):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        add(writer, documents(3))
    return directory


def ids(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return set(contents(snapshot))


def names(directory):
    return [name for name in directory.list() if name.startswith("tmp.")]


BEFORE, AFTER = {"d0", "d1", "d2"}, {"d1", "d2", "d9"}


def change(directory):
    writer = Writer(directory)
    try:
        staged = writer.stage(make_batch([document("d9")]))
        return writer, writer.commit(staged, delete=["d0"])
    except StorageError as error:
        return writer, error


def test_a_link_that_was_made_and_then_denied(directory):
    """A network file system repeats the link and answers that the name exists."""

    def repeated(source, name):
        LocalDirectory.publish(directory, source, name)
        raise FileExistsError(name)

    writer, result = change(Meddling(directory.path, publish=repeated))
    assert result.generation == 3
    writer.close()
    assert ids(directory) == AFTER and names(directory) == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOSPC])
def test_a_link_that_was_made_and_then_failed(directory, code):
    def failing(source, name):
        LocalDirectory.publish(directory, source, name)
        raise StorageError(code, "failed", name)

    writer, result = change(Meddling(directory.path, publish=failing))
    assert result.generation == 3
    writer.close()
    assert ids(directory) == AFTER


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_link_whose_outcome_is_not_known(directory, code):
    def failing(source, name):
        raise StorageError(code, "failed", name)

    writer, result = change(Meddling(directory.path, publish=failing))
    assert isinstance(result, CommitUncertainError)
    segments = directory.list("segments")
    writer.close()
    assert directory.list("segments") == segments and len(segments) == 2
    assert ids(directory) == BEFORE


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_link_that_was_refused(directory, code):
    def failing(source, name):
        raise StorageError(code, "failed", name)

    writer, result = change(Meddling(directory.path, publish=failing))
    assert isinstance(result, StorageError) and not isinstance(result, CommitUncertainError)
    assert len(directory.list("segments")) == 1 and directory.list("tombstones") == []
    writer.close()
    assert ids(directory) == BEFORE and names(directory) == []


def test_a_failure_after_the_link(directory):
    meddling = Meddling(directory.path)
    writer = Writer(meddling)
    staged = writer.stage(make_batch([document("d9")]))

    def failing(folder=""):
        if not folder:
            raise SyncFailedError(errno.EIO, "fsync failed", folder)

    meddling.calls["sync_folder"] = failing
    with pytest.raises(CommitUncertainError, match="may or may not"):
        writer.commit(staged, delete=["d0"])
    writer.discard(staged)
    with pytest.raises(WriterClosedError, match="fsync"):
        writer.commit([])
    writer.close()
    assert ids(directory) == AFTER


def test_two_manifests_for_one_generation(directory):
    base = read_manifest(directory, 2)
    first, second = (replace(base, generation=3, commit_uuid=new_identifier()) for _ in range(2))
    assert publish(directory, base, first, Outcome())
    assert not publish(directory, base, second, Outcome())
    assert publish(directory, base, first, Outcome())
    assert read_manifest(directory, 3) == first and names(directory) == []


def test_a_writer_that_slept_through_collection(directory):
    """Its base is gone and the next name is free again: the commit is withdrawn."""
    base = read_manifest(directory, 2)
    late = replace(base, generation=3, commit_uuid=new_identifier())
    with Writer(directory) as writer:
        for n in range(5):
            add(writer, documents(1, first=20 + n))
        writer.collect(superseded_seconds=0)
    assert generations(directory) == [7]
    before = ids(directory)
    assert not publish(directory, base, late, Outcome())
    assert generations(directory) == [7] and ids(directory) == before


def racing(directory, rival):
    """A directory in which a rival commits just before each of the first links."""
    pending = [rival]

    def publish_second(source, name):
        if pending:
            with Writer(LocalDirectory(directory.path, durable=False)) as other:
                pending.pop()(other)
        LocalDirectory.publish(directory, source, name)

    return Meddling(directory.path, publish=publish_second)


def test_a_loser_takes_the_rivals_changes_over(directory):
    def rival(other):
        other.commit(other.stage(make_batch([document("r")])), delete=["d0", "d1"])

    with Writer(racing(directory, rival)) as writer:
        staged = writer.stage(make_batch([document("d1", 7), document("d9")]))
        result = writer.commit(staged, delete=["d0", "d2"], replace=True)
    assert (result.generation, result.added, result.replaced) == (4, ("d1", "d9"), ())
    assert (result.deleted, result.missing) == (("d2",), ("d0",))
    assert ids(directory) == {"r", "d1", "d9"}
    assert len(directory.list("tombstones")) == 2


def test_a_loser_finds_its_id_taken(directory):
    def rival(other):
        add(other, [document("d9", 1)])

    with Writer(racing(directory, rival)) as writer:
        with pytest.raises(DuplicateDocumentError, match="d9"):
            add(writer, [document("d9", 2)])
        assert ids(directory) == {*BEFORE, "d9"}
        assert len(directory.list("segments")) == 2


def test_a_loser_replaces_what_the_rival_added(directory):
    def rival(other):
        add(other, [document("d9", 1)])

    with Writer(racing(directory, rival)) as writer:
        assert add(writer, [document("d9", 2)], replace=True).replaced == ("d9",)
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert contents(snapshot)["d9"] == document("d9", 2)


def test_always_losing(directory, monkeypatch):
    def taken(source, name):
        raise FileExistsError(name)

    monkeypatch.setattr(commits, "MAX_ATTEMPTS", 5)
    writer, result = change(Meddling(directory.path, publish=taken))
    assert isinstance(result, CommitConflictError)
    writer.close()
    assert len(directory.list("segments")) == 1 and directory.list("tombstones") == []


def check_race(directory, n_workers, n_commits):
    expected = {f"{w}-{n}" for w in range(n_workers) for n in range(n_commits)}
    found = generations(directory)
    assert found == list(range(1, 3 + 3 * n_workers * n_commits))
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        documents = contents(snapshot)
    assert set(documents) == {*expected, "shared", *BEFORE}
    assert all(documents[id] == document(id, 1) for id in expected)


def test_racing_threads(directory):
    threads = [threading.Thread(target=work, args=(directory.path, str(n), 4)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_race(directory, 3, 4)


def test_racing_processes(directory):
    spawning = multiprocessing.get_context("spawn")
    processes = [
        spawning.Process(target=work, args=(str(directory.path), str(n), 4)) for n in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    check_race(directory, 2, 4)


def test_one_writer_shared_by_threads(directory):
    with Writer(directory) as writer:
        threads = [
            threading.Thread(
                target=lambda n=n: [add(writer, [document(f"{n}-{i}")]) for i in range(5)]
            )
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ids(directory) == BEFORE | {f"{n}-{i}" for n in range(3) for i in range(5)}


def test_a_manifest_that_nobody_would_read_is_not_written(directory, monkeypatch):
    for module in (commits, generation):
        monkeypatch.setattr(module, "MAX_MANIFEST_BYTES", 2500)
    with Writer(directory) as writer:
        number = 100
        with pytest.raises(StorageError, match="Compact the index"):
            for number in range(100, 200):
                add(writer, [document(f"d{number}")])
        with writer.snapshot() as snapshot:
            committed = {f"d{n}" for n in range(100, number)}
            assert set(contents(snapshot)) == BEFORE | committed and len(committed) > 2
            assert len(directory.list("segments")) == len(snapshot.segments)
        assert names(directory) == []
        compact(writer)
        add(writer, [document("d9")])
    assert ids(directory) == BEFORE | committed | {"d9"}
    path = directory.readable_path(manifest_name(2))
    monkeypatch.setattr(generation, "MAX_MANIFEST_BYTES", path.stat().st_size)
    assert read_manifest(directory, 2).generation == 2
    monkeypatch.setattr(generation, "MAX_MANIFEST_BYTES", path.stat().st_size - 1)
    # It is what was written, so that nothing may take it for damaged and go past it.
    with pytest.raises(UnsupportedFormatError, match="use a newer one"):
        read_manifest(directory, 2)
    with pytest.raises(UnsupportedFormatError):
        repair(directory)
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    with pytest.raises(CorruptIndexError, match="longer"):
        read_manifest(directory, 2)


def test_a_damaged_manifest_is_not_passed_over(directory):
    path = directory.readable_path(manifest_name(2))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Exception, match="manifest"):
        Reader(directory)
