"""`Index.maintain`: an index of texts goes from epoch to epoch through its encoder."""

import numpy as np
import pytest
from brute_force import BruteForce, corpus
from word_encoder import WordEncoder

from weft.engine.errors import CheckpointError, InvalidParameterError
from weft.engine.index import Index
from weft.engine.storage import conversion, encoding


def names(report):
    return [step.name for step in report.steps if step.name != "collect"]


@pytest.fixture
def encoder():
    return WordEncoder(dim=16)


@pytest.fixture
def grown(tmp_path, encoder):
    """A 2-bit index that has grown ninefold since its codec was trained; and an oracle."""
    oracle = BruteForce(encoder)
    index = Index.create(tmp_path / "index", encoder=encoder, bits=2, flat_below_tokens=800)
    for part in range(9):
        ids = [f"{part}-{n}" for n in range(60)]
        texts = corpus(60, seed=part, length=(10, 60))
        index.add(texts, ids=ids, metadata=[{"part": part}] * 60)
        oracle.add(ids, texts)
        if part == 0:
            assert names(index.maintain()) == ["train", "convert"]
    index.delete(["0-1", "4-50", "8-59"])
    oracle.delete(["0-1", "4-50", "8-59"])
    yield index, oracle
    index.close()


def reconstruction(index, oracle):
    """Mean cosine between what is kept and what the encoder gives."""
    cosines = []
    with index.snapshot() as view:
        for segment in view.segments:
            for name in ("codes", "residuals", "inverse_norms"):
                segment.touch_all(name)
            parts = (segment.codes, segment.residuals, segment.inverse_norms)
            rows = segment.codec.decompress(*parts)
            for docno, id in enumerate(segment.passages.ids()):
                if segment.is_alive(docno):
                    pids = np.flatnonzero(segment.passage_document == docno)
                    first, last = segment.offsets[pids[0]], segment.offsets[pids[-1] + 1]
                    expected = np.concatenate(oracle.documents[id])
                    assert len(expected) == last - first
                    cosines.append((rows[first:last] * expected).sum(axis=1).mean())
    return float(np.mean(cosines))


def same_documents(index, oracle):
    assert sorted(index.ids()) == sorted(oracle.documents)
    assert index.get("3-7").metadata == {"part": 3}
    text = corpus(60, seed=3, length=(10, 60))[7]
    assert index.get("3-7").text == text
    hit = index.search(text, 3, exact=True)[0]
    assert hit.id == "3-7"


def test_two_bits_are_encoded_again_from_text(grown, encoder):
    index, oracle = grown
    # Those compressed before the epoch are as good afterwards: they were not quantised twice.
    before = reconstruction(index, oracle)
    encoder.calls.clear()
    report = index.maintain()
    assert names(report)[0] == "retrain" and report.left == ()
    assert set(names(report)[1:]) <= {"convert", "merge"}
    assert "from text" in report.steps[1].reason
    assert sum(n for kind, n in encoder.calls if kind == "passages") >= len(oracle.documents)
    (epoch,) = index.stats().epochs
    assert (epoch.epoch, epoch.n_drifted_segments) == (2, 0)
    same_documents(index, oracle)
    assert reconstruction(index, oracle) >= before - 0.005
    assert names(index.maintain()) == []


def test_sequences_and_order_are_kept(grown, monkeypatch):
    index, _ = grown
    monkeypatch.setattr(conversion, "ENCODED_STEP_TOKENS", 500)

    def rows():
        with index.snapshot() as view:
            return [
                (id, int(s.files.ref.sequence if s.files.sequences is None
                         else s.files.sequences[docno]))
                for s in view.segments
                for docno, id in enumerate(s.passages.ids())
                if s.is_alive(docno)
            ]  # fmt: skip

    before = rows()
    index.maintain(max_steps=4)
    assert rows() == before
    with index.snapshot() as view:
        assert len(view.manifest.codecs) == 2 and view.manifest.tombstones
    index.maintain()
    assert rows() == before
    with index.snapshot() as view:
        assert len(view.manifest.codecs) == 1


def test_searches_between_any_two_steps(grown, monkeypatch):
    index, oracle = grown
    monkeypatch.setattr(conversion, "ENCODED_STEP_TOKENS", 8000)
    seen = set()
    while names(index.maintain(max_steps=1)):
        same_documents(index, oracle)
        seen.add(len(index.stats().epochs))
    assert seen == {1, 2}


def add_other(index):
    """A document whose embeddings have nothing to do with its text."""
    rows = np.random.default_rng(0).normal(size=(9, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    text = "nine words that have nothing to do with them"
    index.add([text], ids=["other"], embeddings=[rows])
    return rows


def test_no_epoch_begins_where_embeddings_are_not_from_text(grown):
    index, oracle = grown
    rows = add_other(index)
    report = index.maintain()
    (left,) = report.left
    assert left.startswith("retrain") and "'other'" in left
    assert [epoch.epoch for epoch in index.stats().epochs] == [1]
    assert index.search(rows, 1, exact=True)[0].id == "other"
    assert set(index.ids()) == {*oracle.documents, "other"}


def test_what_was_not_made_from_text_stays_in_its_epoch(grown, monkeypatch):
    index, oracle = grown
    rows = add_other(index)
    index.compact()
    # The sample of the new epoch does not show it.
    monkeypatch.setattr(encoding, "sample_passages", lambda n, passage_bytes: 180)
    report = index.maintain()
    assert names(report)[0] == "retrain"
    (left,) = report.left
    assert left.startswith("convert") and "'other'" in left
    assert index.search(rows, 1, exact=True)[0].id == "other"
    # Its neighbours in the segment were converted; it alone is left in the first epoch.
    old, _ = index.stats().epochs
    assert old.n_tokens == 9
    assert set(index.ids()) == {*oracle.documents, "other"}
    again = index.maintain()
    assert names(again) == [] and again.left == report.left
    index.upsert(["now from text"], ids=["other"])
    index.maintain()
    assert [epoch.epoch for epoch in index.stats().epochs] == [2]


def test_an_encoder_that_cannot_be_loaded(grown, tmp_path):
    path = grown[0].path
    grown[0].close()
    with Index.open(path) as index:
        report = index.maintain()
        (left,) = report.left
        assert left.startswith("retrain") and names(report) == ["merge"]
        with pytest.raises(CheckpointError):
            index.search("w1")


def test_a_cosine_below_the_least_is_another_embedding(grown, monkeypatch):
    index, _ = grown
    monkeypatch.setattr(encoding, "LEAST_COSINE", 1.1)
    report = index.maintain()
    assert names(report) == ["merge"] and "its text does not give" in report.left[0]


@pytest.mark.parametrize(
    "bounds",
    [{"seconds": -1}, {"seconds": float("nan")}, {"seconds": True}, {"seconds": "1"},
     {"max_steps": -1}, {"max_steps": 1.5}],
)  # fmt: skip
def test_bounds_are_checked(tmp_path, encoder, bounds):
    with Index.create(tmp_path / "index", encoder=encoder) as index:
        with pytest.raises(InvalidParameterError, match=next(iter(bounds))):
            index.maintain(**bounds)
        assert index.maintain(seconds=1e9, max_steps=3).steps == ()


def test_stats_tell_of_epochs_and_drift(grown):
    index, _ = grown
    stats = index.stats()
    (epoch,) = stats.epochs
    assert (epoch.epoch, epoch.n_appends, epoch.n_segments) == (1, 0, 9)
    with index.snapshot() as view:
        falls = [epoch.centroid_cosine - s.centroid_cosine for s in view.manifest.segments]
        assert epoch.worst_drift == max(falls)
        on_disk = sum(f.stat().st_size for f in (index.path / "segments").rglob("*.*"))
        named = {s.id for s in view.manifest.segments}
        assert stats.reclaimable_bytes == on_disk - sum(
            f.stat().st_size
            for f in (index.path / "segments").rglob("*.*")
            if f.parent.name in named
        )
        assert stats.reclaimable_bytes > 0
    index.maintain(max_steps=2)
    assert [epoch.epoch for epoch in index.stats().epochs] == [1, 2]
