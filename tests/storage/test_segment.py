"""Segments: what is staged is read back, by the safetensors library too, and damage is found."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from storage_tools import (
    DIM,
    add,
    contents,
    document,
    documents,
    embeddings_of,
    inverted_list,
    make_batch,
    new_index,
)

from weft.engine.documents import Document
from weft.engine.errors import (
    CorruptIndexError,
    DuplicateDocumentError,
    InvalidDocumentError,
    InvalidEmbeddingError,
    SnapshotClosedError,
    StorageError,
)
from weft.engine.storage.batch import EncodedBatch
from weft.engine.storage.compaction import compact
from weft.engine.storage.layout import segment_file
from weft.engine.storage.reader import Reader
from weft.engine.storage.segment_files import SegmentFiles
from weft.engine.storage.writer import Writer


@pytest.fixture(params=["flat", "coded"])
def index(request, tmp_path):
    """An index with one segment of 60 documents."""
    directory = new_index(tmp_path, flat_below_tokens=10**9 if request.param == "flat" else 10)
    with Writer(directory) as writer:
        add(writer, documents(60))
        if request.param == "coded":
            compact(writer)
    return directory


@pytest.mark.parametrize("mmap", [True, False])
def test_round_trip(index, mmap):
    with Reader(index, mmap=mmap) as reader, reader.snapshot() as snapshot:
        assert contents(snapshot) == {d.id: d for d in documents(60)}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_embeddings_of_both_dtypes(tmp_path, dtype):
    directory = new_index(tmp_path)
    with Writer(directory) as writer, Reader(directory) as reader:
        writer.commit(writer.stage(make_batch(documents(5), dtype=dtype)))
        with reader.snapshot() as snapshot:
            assert len(contents(snapshot)) == 5


def test_the_safetensors_library_reads_the_arrays(index):
    with Reader(index) as reader, reader.snapshot() as snapshot:
        (view,) = snapshot.segments
        for file in ("arrays.safetensors", "checksums.safetensors"):
            found = load_file(index.readable_path(segment_file(view.id, file)))
            assert found
        found = load_file(index.readable_path(segment_file(view.id, "arrays.safetensors")))
        for name in ("doclens", "passage_document"):
            assert np.array_equal(found[name], getattr(view, name))
        if view.kind == "flat":
            expected = [a for d in documents(60) for a in embeddings_of(d.id, d.text)]
            assert np.array_equal(found["embeddings"], np.concatenate(expected).astype(np.float16))
        else:
            codec = load_file(index.path / "codec" / view.codec_id / "codec.safetensors")
            assert found["codes"].max() < len(codec["centroids"])
            assert np.array_equal(found["ivf_pids"], view.ivf_pids)


def test_inverted_lists_hold_exactly_the_codes(tmp_path):
    directory = new_index(tmp_path, flat_below_tokens=10)
    with Writer(directory) as writer, Reader(directory) as reader:
        add(writer, documents(60))
        compact(writer)
        add(writer, [document("small")])
        with reader.snapshot() as snapshot:
            dense, sparse = snapshot.segments
            assert sparse.ivf_centroids is not None
            for view in (dense, sparse):
                token_pids = np.repeat(np.arange(view.n_passages), view.doclens)
                for code in range(snapshot.codec.n_centroids):
                    expected = np.unique(token_pids[view.codes == code]).tolist()
                    assert inverted_list(view, code) == expected


@pytest.mark.parametrize("name", ["arrays.safetensors", "passages.sqlite", "checksums.safetensors"])
def test_flipped_bytes_never_pass(index, name):
    with Reader(index) as reader, reader.snapshot() as snapshot:
        (view,) = snapshot.segments
    path = index.readable_path(segment_file(view.id, name))
    data = path.read_bytes()
    random = np.random.default_rng(0)
    for position in [
        *range(0, 300, 37),
        *random.integers(0, len(data), 25).tolist(),
        len(data) - 1,
    ]:
        bad = bytearray(data)
        bad[position] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(bad))
        with pytest.raises(CorruptIndexError, match=view.id):
            verify(index)
    for wrong in (data[:-1], data + b"x", b"", data[: len(data) // 2]):
        path.write_bytes(wrong)
        with pytest.raises(CorruptIndexError, match=view.id):
            verify(index)
    path.unlink()
    with pytest.raises(CorruptIndexError, match=view.id):
        verify(index)
    path.write_bytes(data)
    verify(index)


def verify(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        for view in snapshot.segments:
            view.files.verify()


def test_damage_is_found_at_the_touch_and_not_before(tmp_path):
    directory = new_index(tmp_path, dim=512)
    with Writer(directory) as writer:
        writer.commit(writer.stage(make_batch(documents(100), dim=512)))
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        view = snapshot.segments[0]
        at = view.files.tensors["embeddings"].start + 200 * 1024
    path = directory.readable_path(segment_file(view.id, "arrays.safetensors"))
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        view = snapshot.segments[0]
        view.touch("embeddings", np.array([0]), np.array([64]))
        with pytest.raises(CorruptIndexError, match="offset"):
            view.touch("embeddings", np.array([0, 199]), np.array([10, 201]))
        with pytest.raises(CorruptIndexError, match="offset"):
            view.touch_all("embeddings")


def opened(directory, **changes):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        manifest = snapshot.manifest
    files = SegmentFiles(
        directory, replace(manifest.segments[0], **changes), dim=DIM, bits=manifest.settings.bits
    )
    files.passages.docnos(["d1"])
    return files


def test_structure_is_checked_against_the_manifest(index):
    ref = opened(index).ref
    wrong = [
        {"n_passages": ref.n_passages + 1},
        {"n_documents": ref.n_documents + 1},
        {"n_documents": ref.n_documents - 1},
        {"n_tokens": ref.n_tokens - 1},
        {"arrays_bytes": ref.arrays_bytes + 1},
    ]
    if ref.kind == "coded":
        wrong += [{"n_centroids": ref.n_centroids // 2}, {"n_centroids": 70_000}, {"kind": "flat"}]
    for changes in wrong:
        with pytest.raises(CorruptIndexError, match=ref.id):
            opened(index, **changes)


def test_sqlite_files_are_closed_whole(index):
    with Reader(index) as reader, reader.snapshot() as snapshot:
        (view,) = snapshot.segments
    folder = index.path / "segments" / view.id
    assert sorted(p.name for p in folder.iterdir()) == [
        "arrays.safetensors",
        "checksums.safetensors",
        "passages.sqlite",
    ]
    connection = sqlite3.connect(f"file:{folder}/passages.sqlite?mode=ro&immutable=1", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    query = "SELECT rowid FROM fulltext WHERE fulltext MATCH 'd7'"
    assert connection.execute(query).fetchall() == [(7,)]
    connection.close()


def test_a_store_answers_by_number(index):
    with Reader(index) as reader, reader.snapshot() as snapshot:
        store = snapshot.segments[0].passages
        assert store.document(3) == document("d3")
        wanted = [5, 0, 5, 59]
        assert [d.id for d in store.documents(wanted)] == ["d5", "d0", "d5", "d59"]
        assert list(store.ids()) == [f"d{n}" for n in range(60)]
        assert store.docnos(["d4", "nobody", "d9"]) == {"d4": 4, "d9": 9}
        assert store.documents_where("name", "$in", ["d7", "d3"]).tolist() == [3, 7]
        with pytest.raises(IndexError):
            store.document(60)
    with pytest.raises(SnapshotClosedError):
        store.document(3)


def test_what_sqlite_says_of_the_file_and_of_the_machine(index, monkeypatch):
    with Reader(index) as reader, reader.snapshot() as snapshot:
        store = snapshot.segments[0].passages
        monkeypatch.setattr(index, "readable_path", lambda name: index.path / "none")
        with pytest.raises(StorageError, match="SQLite"):
            store.document(1)
        (index.path / "none").write_bytes(b"no database" * 1000)
        with pytest.raises(CorruptIndexError, match="SQLite"):
            store.document(1)


def test_many_rows_at_once(tmp_path):
    directory = new_index(tmp_path)
    with Writer(directory) as writer, Reader(directory) as reader:
        add(writer, documents(1300))
        with reader.snapshot() as snapshot:
            assert len(contents(snapshot)) == 1300


def parts(n=3):
    batch = make_batch(documents(n))
    names = ("documents", "passage_document", "spans", "doclens", "embeddings")
    return {name: getattr(batch, name) for name in names}


@pytest.mark.parametrize(
    ("key", "change", "error"),
    [
        ("documents", lambda v: [*v, v[0]], DuplicateDocumentError),
        ("documents", lambda v: v[:-1], InvalidDocumentError),
        ("documents", lambda v: [], InvalidDocumentError),
        ("passage_document", lambda v: v[::-1].copy(), InvalidDocumentError),
        ("passage_document", lambda v: v.astype(np.int64), InvalidDocumentError),
        ("passage_document", lambda v: v + np.uint32(1), InvalidDocumentError),
        ("spans", lambda v: v + 1000, InvalidDocumentError),
        ("spans", lambda v: v[:, ::-1].copy() - 1, InvalidDocumentError),
        ("spans", lambda v: v[:-1], InvalidDocumentError),
        ("doclens", lambda v: v + np.uint32(1), InvalidEmbeddingError),
        ("doclens", lambda v: v * np.uint32(0), InvalidEmbeddingError),
        ("doclens", lambda v: v * np.uint32(100_000), InvalidEmbeddingError),
        ("embeddings", lambda v: v[:-1], InvalidEmbeddingError),
        ("embeddings", lambda v: v.astype(np.float64), InvalidEmbeddingError),
        ("embeddings", lambda v: v * np.float32(np.nan), InvalidEmbeddingError),
        ("embeddings", lambda v: v.reshape(-1), InvalidEmbeddingError),
    ],
)
def test_batches_are_checked(key, change, error):
    good = parts()
    EncodedBatch(**good)
    with pytest.raises(error):
        EncodedBatch(**{**good, key: change(good[key])})


@pytest.mark.parametrize(
    "bad",
    [
        Document("d", "lone \ud800 surrogate"),
        Document("\ud800", "text"),
        Document("d", "text", {"a": float("nan")}),
        Document("d", "text", {"a": {1, 2}}),
    ],
)
def test_documents_that_cannot_be_stored_leave_nothing(tmp_path, bad):
    directory = new_index(tmp_path)
    with Writer(directory) as writer:
        batch = make_batch(documents(2))
        with pytest.raises(InvalidDocumentError):
            writer.stage(
                replace(batch, documents=[document("d0"), replace(bad, text=bad.text * 9)])
            )
        assert directory.list("segments") == []
        assert writer.snapshot().generation == 1
