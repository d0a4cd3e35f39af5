"""Compaction changes how an index is stored and never what it holds."""

import numpy as np
import pytest
from storage_tools import (
    add,
    contents,
    document,
    documents,
    embeddings_of,
    make_batch,
    new_index,
    stored_rows,
)

from weft.engine.codec import Codec
from weft.engine.errors import CommitUncertainError, CorruptIndexError, StorageError
from weft.engine.storage import compaction, merge, sampling
from weft.engine.storage.compaction import compact
from weft.engine.storage.layout import segment_file
from weft.engine.storage.reader import Reader
from weft.engine.storage.sampling import training_sample
from weft.engine.storage.writer import Writer


@pytest.fixture
def flat(tmp_path):
    return new_index(tmp_path / "index")


@pytest.fixture
def coding(tmp_path):
    """An index that is coded from 100 tokens on."""
    return new_index(tmp_path / "index", flat_below_tokens=100)


def fill(writer, n_segments=4, size=10):
    for n in range(n_segments):
        add(writer, documents(size, first=size * n))
    writer.commit([], delete=[f"d{n}" for n in range(3, n_segments * size, 7)])
    return {d.id: d for d in documents(n_segments * size) if (int(d.id[1:]) - 3) % 7}


def state(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return contents(snapshot), [view.kind for view in snapshot.segments]


def test_flat_stays_flat_below_the_threshold(flat):
    with Writer(flat) as writer:
        expected = fill(writer)
        report = compact(writer)
        assert (report.committed, report.segments_before, report.segments_after) == (True, 4, 1)
        assert report.dropped_documents == 40 - len(expected) and report.training is None
        assert state(flat) == (expected, ["flat"])
        assert flat.list("codec") == []
        again = compact(writer)
        assert not again.committed and "nothing" in again.reason
        assert again.generation == report.generation


def test_nothing_but_dead_rows(flat):
    with Writer(flat) as writer:
        fill(writer)
        writer.commit([], delete=[f"d{n}" for n in range(40)])
        assert compact(writer).segments_after == 0
        assert state(flat) == ({}, [])
        with writer.snapshot() as snapshot:
            assert snapshot.manifest.tombstones == ()
        add(writer, documents(2))
        assert state(flat)[0] == {d.id: d for d in documents(2)}


def test_an_empty_index(coding):
    with Writer(coding) as writer:
        assert not compact(writer).committed


def test_a_codec_is_trained_at_the_threshold(coding):
    with Writer(coding) as writer:
        expected = fill(writer)
        report = compact(writer)
        assert report.training.n_centroids > 1
        assert state(coding) == (expected, ["coded"])
        add(writer, documents(5, first=100))
        expected |= {d.id: d for d in documents(5, first=100)}
        assert state(coding) == (expected, ["coded", "coded"])
        (codec,) = coding.list("codec")
        assert compact(writer).training is None
        assert coding.list("codec") == [codec]
        assert state(coding) == (expected, ["coded"])


def test_just_below_the_threshold(tmp_path):
    docs = documents(12)
    n_tokens = sum(len(a) for d in docs for a in embeddings_of(d.id, d.text))
    for threshold, kind in [(n_tokens + 1, "flat"), (n_tokens, "coded")]:
        directory = new_index(tmp_path / kind, flat_below_tokens=threshold)
        with Writer(directory) as writer:
            add(writer, docs)
            assert compact(writer).committed == (kind == "coded")
        assert state(directory) == ({d.id: d for d in docs}, [kind])


def coded_rows(directory):
    """id -> what is stored of its tokens."""
    found = {}
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        for view in snapshot.segments:
            for name in ("codes", "residuals", "inverse_norms"):
                view.touch_all(name)
            token_documents = np.repeat(view.passage_document, view.doclens)
            for docno, id in enumerate(view.passages.ids()):
                if view.is_alive(docno):
                    rows = token_documents == docno
                    found[id] = (view.codes[rows], view.residuals[rows], view.inverse_norms[rows])
    return found


def test_coded_tokens_are_copied(coding, monkeypatch):
    with Writer(coding) as writer:
        add(writer, documents(60))
        compact(writer)
        add(writer, documents(20, first=60))
        add(writer, documents(20, first=80))
        writer.commit([], delete=["d5", "d61", "d99"])
        before = coded_rows(coding)
        for name in ("compress", "decompress", "assign"):
            monkeypatch.setattr(Codec, name, None)
        assert compact(writer).committed
        after = coded_rows(coding)
    assert set(before) == set(after) and len(after) == 97
    for id, arrays in before.items():
        assert all(np.array_equal(a, b) for a, b in zip(arrays, after[id], strict=True))


def test_flat_tokens_are_compressed_by_the_codec(coding):
    with Writer(coding) as writer:
        add(writer, documents(60))
        compact(writer)
        with writer.snapshot() as snapshot:
            codec = snapshot.codec
        for id, (codes, residuals, inverse_norms) in coded_rows(coding).items():
            rows = np.concatenate(embeddings_of(id, document(id).text)).astype(np.float16)
            packed = codec.compress(rows)
            assert np.array_equal(packed.codes, codes)
            assert np.array_equal(packed.residuals, residuals)
            assert np.array_equal(packed.inverse_norms, inverse_norms)


@pytest.mark.parametrize("chunk", [1, 20])
def test_chunks_of_any_size(coding, monkeypatch, chunk):
    monkeypatch.setattr(merge, "CHUNK_TOKENS", chunk)
    monkeypatch.setattr(merge, "CHUNK_DOCUMENTS", chunk)
    with Writer(coding) as writer:
        expected = fill(writer)
        compact(writer)
        assert state(coding) == (expected, ["coded"])
        fill_more = documents(7, first=200)
        add(writer, fill_more)
        writer.commit([], delete=["d0", "d202"])
        compact(writer)
    expected = {**expected, **{d.id: d for d in fill_more}}
    del expected["d0"], expected["d202"]
    assert state(coding) == (expected, ["coded"])


def test_segments_are_bounded(tmp_path):
    directory = new_index(tmp_path, max_segment_passages=50)
    with Writer(directory) as writer:
        expected = fill(writer, n_segments=8)
        report = compact(writer)
        assert 1 < report.segments_after < 8
        with writer.snapshot() as snapshot:
            assert all(view.n_passages <= 50 for view in snapshot.segments)
            assert list(contents(snapshot)) == list(expected)
        assert not compact(writer).committed


def test_order_and_sequences_are_kept(flat):
    with Writer(flat) as writer, Reader(flat) as reader:
        for n in range(3):
            add(writer, documents(4, first=4 * n))
        writer.commit([], delete=["d1"])
        compact(writer)
        add(writer, documents(2, first=50))
        compact(writer)
        with reader.snapshot() as snapshot:
            (view,) = snapshot.segments
            ids = [f"d{n}" for n in range(12) if n != 1]
            assert list(view.passages.ids()) == [*ids, "d50", "d51"]
            expected = [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 5, 5]
            assert view.files.sequences.tolist() == expected
            assert view.files.ref.sequence == 5


def meanwhile(monkeypatch, action):
    """Run something after the segments were merged and before the commit."""
    real = compaction._Compaction._write

    def write(self, work):
        real(self, work)
        action()

    monkeypatch.setattr(compaction._Compaction, "_write", write)


@pytest.mark.parametrize("threshold", [100, 10**9])
def test_changes_of_others_are_kept(tmp_path, monkeypatch, threshold):
    directory = new_index(tmp_path / "index", flat_below_tokens=threshold)
    with Writer(directory) as writer, Writer(directory) as other:
        expected = fill(writer)

        def changes():
            add(other, [document("d0", 9), document("x", 9)], replace=True)
            other.commit([], delete=["d1", "d39"])

        meanwhile(monkeypatch, changes)
        report = compact(writer)
        assert report.committed and report.segments_after == 2
        expected |= {"d0": document("d0", 9), "x": document("x", 9)}
        del expected["d1"], expected["d39"]
        kind = "coded" if threshold == 100 else "flat"
        assert state(directory) == (expected, [kind, "flat"])
        monkeypatch.undo()
        assert compact(writer).segments_after == 1
        assert state(directory) == (expected, [kind])


@pytest.mark.parametrize("threshold", [100, 10**9])
def test_of_two_compactions_one_gives_up(tmp_path, monkeypatch, threshold):
    directory = new_index(tmp_path / "index", flat_below_tokens=threshold)
    with Writer(directory) as writer, Writer(directory) as other:
        expected = fill(writer)
        reports = []

        def rival():
            monkeypatch.undo()
            reports.append(compact(other))

        meanwhile(monkeypatch, rival)
        report = compact(writer)
        assert reports[0].committed and not report.committed
        assert "meanwhile" in report.reason
        kind = "coded" if threshold == 100 else "flat"
        assert state(directory) == (expected, [kind])
        assert len(directory.list("codec")) == (threshold == 100)
        assert len(directory.list("segments")) == 5


def test_a_damaged_input_stops_it(flat):
    with Writer(flat) as writer:
        fill(writer)
        with writer.snapshot() as snapshot:
            id = snapshot.segments[2].id
        path = flat.readable_path(segment_file(id, "arrays.safetensors"))
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(bytes(data))
    before = flat.list("segments")
    with pytest.raises(CorruptIndexError, match=id), Writer(flat) as writer:
        compact(writer)
    assert flat.list("segments") == before


@pytest.mark.parametrize("error", [StorageError, CommitUncertainError])
def test_what_a_failed_commit_leaves(coding, monkeypatch, error):
    with Writer(coding) as writer:
        expected = fill(writer)
        before = coding.list("segments")

        def fail(prepare, outcome):
            outcome.may_be_published = error is CommitUncertainError
            raise error("the disk failed")

        monkeypatch.setattr(writer, "apply", fail)
        with pytest.raises(error):
            compact(writer)
        uncertain = error is CommitUncertainError
        assert (coding.list("segments") == before) != uncertain
        assert bool(coding.list("codec")) == uncertain
    assert state(coding)[0] == expected


def test_the_sample_is_of_alive_passages(flat, monkeypatch):
    with Writer(flat) as writer, Reader(flat) as reader:
        expected = fill(writer)
        rows = np.concatenate([a for d in expected.values() for a in embeddings_of(d.id, d.text)])
        known = {row.tobytes() for row in rows.astype(np.float16)}
        with reader.snapshot() as snapshot:
            sample = training_sample(snapshot.segments)
            assert sample.dtype == np.float16 and len(sample) == len(rows)
            assert {row.tobytes() for row in sample} == known
            again = training_sample(snapshot.segments, seed=0)
            assert np.array_equal(sample, again)
            few = training_sample(snapshot.segments, max_rows=40, seed=3)
            monkeypatch.setattr(sampling, "SAMPLE_BYTES", 40 * 4 * 8)
            small = training_sample(snapshot.segments, seed=3)
            assert 0 < len(small) <= 40 and {row.tobytes() for row in small} <= known
            assert np.array_equal(few, small)
            monkeypatch.setattr(sampling, "sample_passages", lambda n: 9)
            monkeypatch.setattr(sampling, "SAMPLE_BYTES", 1 << 30)
            assert 9 <= len(training_sample(snapshot.segments)) <= 45


def test_adding_in_one_commit_or_in_many_is_stored_alike(tmp_path):
    stored = []
    for name, size in [("one", 40), ("many", 4)]:
        directory = new_index(tmp_path / name)
        with Writer(directory) as writer, Reader(directory) as reader:
            for first in range(0, 40, size):
                writer.commit(writer.stage(make_batch(documents(size, first=first))))
            compact(writer)
            with reader.snapshot() as snapshot:
                (view,) = snapshot.segments
                rows = [stored_rows(view, pid)[0].copy() for pid in range(view.n_passages)]
                stored.append((list(view.passages.ids()), view.doclens.tolist(), rows))
    assert stored[0][:2] == stored[1][:2]
    assert all(np.array_equal(a, b) for a, b in zip(stored[0][2], stored[1][2], strict=True))
