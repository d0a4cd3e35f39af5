"""Adding, replacing and deleting, and what remains when that fails."""

import errno
import os
import time

import numpy as np
import pytest
from storage_tools import add, contents, document, documents, make_batch, new_index

from weft.engine.errors import (
    DimensionMismatchError,
    DuplicateDocumentError,
    IndexExistsError,
    IndexNotFoundError,
    InvalidParameterError,
    StorageError,
    WriterClosedError,
)
from weft.engine.storage import create_index
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


def files(directory):
    names = [str(p.relative_to(directory.path)) for p in directory.path.rglob("*") if p.is_file()]
    return sorted((n for n in names if not n.startswith("pins/")), key=lambda n: ("inbox" in n, n))


def now(reader):
    with reader.snapshot() as snapshot:
        return contents(snapshot)


def test_add_replace_delete(writer, reader):
    result = add(writer, documents(3))
    assert (result.generation, result.added) == (2, ("d0", "d1", "d2"))
    assert result.replaced == result.deleted == result.missing == ()
    new = [document("d1", 1), document("d9", 1)]
    result = add(writer, new, replace=True)
    assert (result.generation, result.added, result.replaced) == (3, ("d9",), ("d1",))
    assert now(reader) == {d.id: d for d in [*documents(3), *new]}
    result = writer.commit([], delete=["d0", "nobody", "d9", "d0"])
    assert (result.generation, result.deleted, result.missing) == (4, ("d0", "d9"), ("nobody",))
    assert set(now(reader)) == {"d1", "d2"}


def test_one_commit_covers_everything(writer, reader):
    add(writer, documents(4))
    staged = [writer.stage(make_batch(documents(2, first=10 * n))) for n in (1, 2, 3)]
    before = reader.snapshot()
    result = writer.commit(staged, delete=["d0"])
    assert result.generation == before.generation + 1
    assert set(contents(before)) == {f"d{n}" for n in range(4)}
    assert set(now(reader)) == {"d1", "d2", "d3", "d10", "d11", "d20", "d21", "d30", "d31"}
    before.close()


def test_an_id_that_is_there(writer, reader, directory):
    add(writer, documents(3))
    kept = directory.list("segments")
    first = writer.stage(make_batch([document("new")]))
    second = writer.stage(make_batch([document("d2", 1)]))
    with pytest.raises(DuplicateDocumentError, match=r"'d2'.*upsert"):
        writer.commit([first, second])
    assert directory.list("segments") == kept
    assert now(reader) == {d.id: d for d in documents(3)}
    add(writer, documents(1, first=3))


def test_an_id_that_was_deleted_can_be_added(writer, reader):
    for version in range(3):
        add(writer, [document("a", version)])
        assert now(reader) == {"a": document("a", version)}
        writer.commit([], delete=["a"])
        assert now(reader) == {}


@pytest.mark.parametrize("replace", [False, True])
def test_an_id_twice_in_one_commit(writer, directory, replace):
    with pytest.raises(DuplicateDocumentError, match="d1"):
        writer.stage(make_batch([document("d1"), document("d1", 1)]))
    staged = [writer.stage(make_batch([document("d1", v)])) for v in (0, 1)]
    with pytest.raises(DuplicateDocumentError, match="d1"):
        writer.commit(staged, replace=replace)
    assert directory.list("segments") == []


def test_deleting_and_adding_an_id_at_once(writer, reader):
    add(writer, documents(2))
    result = writer.commit(
        writer.stage(make_batch([document("d0", 5), document("x", 5)])), delete=["d0", "x", "d1"]
    )
    assert (result.replaced, result.added) == (("d0",), ("x",))
    assert (result.deleted, result.missing) == (("d1",), ())
    assert now(reader) == {"d0": document("d0", 5), "x": document("x", 5)}


def test_nothing_to_do_is_no_generation(writer, directory):
    before = directory.list()
    result = writer.commit([], delete=["nobody"])
    assert (result.generation, result.missing) == (1, ("nobody",))
    assert writer.commit([]).generation == 1
    assert directory.list() == before


def test_another_dim(writer, directory):
    with pytest.raises(DimensionMismatchError, match=r"dim 5.*dim 8"):
        writer.stage(make_batch(documents(2), dim=5))
    assert directory.list("segments") == []


def test_discarding(writer, directory):
    staged = writer.stage(make_batch(documents(2)))
    writer.discard(staged)
    assert directory.list("segments") == []
    with pytest.raises(InvalidParameterError, match="discarded"):
        writer.commit(staged)
    staged = writer.stage(make_batch(documents(2)))
    writer.commit(staged)
    writer.discard(staged)
    assert directory.list("segments") == [staged.id]
    with pytest.raises(InvalidParameterError, match="committed"):
        writer.commit(staged)


def test_closing_discards_what_was_staged(directory):
    writer = Writer(directory)
    writer.stage(make_batch(documents(2)))
    writer.close()
    writer.close()
    assert directory.list("segments") == []
    for call in (
        lambda: writer.stage(make_batch(documents(2))),
        lambda: writer.commit([]),
        lambda: writer.collect(),
        lambda: writer.snapshot(),
    ):
        with pytest.raises(WriterClosedError, match="closed"):
            call()


def test_a_staged_segment_that_was_collected(writer, reader, directory):
    staged = writer.stage(make_batch(documents(2)))
    time.sleep(0.02)
    with Writer(directory) as other:
        add(other, documents(1))
        other.commit([], delete=["d0"])
    writer.collect(staged_seconds=0)
    with pytest.raises(StorageError, match="collected"):
        writer.commit(staged)
    assert now(reader) == {}


def test_a_full_disk_while_staging(writer, directory, reader, monkeypatch):
    add(writer, documents(3))
    before = files(directory)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError) as caught:
            writer.stage(make_batch(documents(3, first=10)))
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(StorageError):
            writer.commit([], delete=["d1"])
    # The claim of the deletion stays, until a later change applies it.
    assert files(directory) == [*before, "inbox/0000000000000002"]
    assert set(now(reader)) == {"d0", "d1", "d2"}
    add(writer, documents(3, first=10))
    assert len(now(reader)) == 6 and directory.list("inbox") == []


@pytest.mark.parametrize("at", range(12))
def test_a_failed_fsync_ends_the_writer(tmp_path, monkeypatch, at):
    directory = new_index(tmp_path / "index", durable=True)
    with Writer(directory) as setup:
        add(setup, documents(3))
    writer = Writer(directory)
    calls = iter(range(100))
    real = os.fsync

    def fail(descriptor):
        if next(calls) == at:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        committed = False
        try:
            writer.commit(writer.stage(make_batch(documents(2, first=10))), delete=["d0"])
            committed = True
        except StorageError:
            for call in (lambda: writer.commit([]), lambda: writer.stage(make_batch(documents(1)))):
                with pytest.raises(WriterClosedError, match="fsync"):
                    call()
    assert committed == (next(calls) <= at)
    writer.close()
    with Reader(directory) as reader, Writer(directory) as other:
        found = set(now(reader))
        assert found in ({"d0", "d1", "d2"}, {"d1", "d2", "d10", "d11"})
        assert not committed or "d10" in found
        add(other, documents(2, first=20))
        assert set(now(reader)) == found | {"d20", "d21"}


def test_tombstone_files_stay_few(writer, reader, directory):
    add(writer, documents(60))
    for n in range(40):
        writer.commit([], delete=[f"d{n}"])
        with reader.snapshot() as snapshot:
            assert len(snapshot.manifest.tombstones) <= 8
    assert set(now(reader)) == {f"d{n}" for n in range(40, 60)}
    with reader.snapshot() as snapshot, Reader(directory) as second:
        other = second.snapshot()
        for a, b in zip(snapshot.segments, other.segments, strict=True):
            assert np.array_equal(a.alive, b.alive)
        other.close()


def test_sequences_follow_the_commits(writer, reader):
    for n in range(3):
        add(writer, documents(1, first=n))
    writer.commit([], delete=["d1"])
    with reader.snapshot() as snapshot:
        manifest = snapshot.manifest
        assert [ref.sequence for ref in manifest.segments] == [1, 2, 3]
        assert (manifest.next_sequence, manifest.applied_floor) == (5, 4)
        # Nothing older can arrive any more that the deletion would have to be kept for.
        assert [dict(part.ids) for part in snapshot.tombstones] == [{}]


def test_create_where_something_is(directory, tmp_path):
    with pytest.raises(IndexExistsError, match="open it"):
        create_index(directory, dim=8, encoder=None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(IndexExistsError, match=r"notes\.txt"):
        create_index(tmp_path / "mine", dim=8, encoder=None)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(IndexExistsError, match="file is in the way"):
        create_index(tmp_path / "mine" / "notes.txt", dim=8, encoder=None)
    for dim in (0, 5000, True, "8", 8.0):
        with pytest.raises(InvalidParameterError, match="dim"):
            create_index(tmp_path / "other", dim=dim, encoder=None)
    assert not (tmp_path / "other").exists()


def test_an_index_needs_a_manifest(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(IndexNotFoundError, match=str(path)):
            Reader(path)
    assert list(tmp_path.iterdir()) == []


def test_create_in_an_empty_folder_with_encoder(tmp_path):
    create_index(str(tmp_path), dim=8, encoder={"name": "é", "dim": 8})
    with Reader(str(tmp_path)) as reader, reader.snapshot() as snapshot:
        assert snapshot.manifest.encoder == {"name": "é", "dim": 8}
        assert snapshot.codec is None and snapshot.segments == []
        assert (snapshot.n_documents, snapshot.n_passages, snapshot.n_tokens) == (0, 0, 0)
