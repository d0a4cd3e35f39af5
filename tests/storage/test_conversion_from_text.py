"""Documents that keep other embeddings than their text gives hold up nothing but themselves."""

import numpy as np
import pytest
from lineage_tools import DIM, TOKENS, domain, names, new_index, passages, unit
from word_encoder import WordEncoder

from weft.engine.documents import Document
from weft.engine.ingest import encoded_batches
from weft.engine.storage import conversion, drift, encoding, holding, lineage
from weft.engine.storage.batch import EncodedBatch
from weft.engine.storage.compaction import compact
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.replacement import Replacement
from weft.engine.storage.sampling import training_sample
from weft.engine.storage.writer import Writer

pytestmark = pytest.mark.usefixtures("unheld")

WORDS = [f"w{number}" for number in range(300)]


class Counting:
    """The index's encoder, and how many documents it was given."""

    def __init__(self):
        self.n = 0
        self._encoder = WordEncoder(dim=DIM)

    def __call__(self, documents):
        self.n += len(documents)
        return encoded_batches(list(documents), self._encoder)

    def take(self):
        n, self.n = self.n, 0
        return n


@pytest.fixture
def encode():
    return Counting()


@pytest.fixture(autouse=True)
def epochs_begin(monkeypatch):
    """The sample of a new epoch does not show what was not made from text."""
    monkeypatch.setattr(
        lineage, "encoded_sample", lambda views, _, seed: training_sample(views, seed=seed)
    )


def make(prefix, n):
    rng = np.random.default_rng([n, *prefix.encode()])
    return [Document(f"{prefix}{k}", " ".join(rng.choice(WORDS, TOKENS)), {}) for k in range(n)]


def add_from_text(writer, encode, prefix, n):
    for batch in encode(make(prefix, n)):
        writer.commit(writer.stage(batch))


def add_foreign(writer, prefix, n, topics=None):
    """Documents with random embeddings, or with those of a domain."""
    documents = make(prefix, n)
    rows = unit(np.random.default_rng(n).normal(size=(n * TOKENS, DIM)))
    if topics is not None:
        rows = np.concatenate(passages(topics, n, n))
    batch = EncodedBatch(
        documents=documents,
        passage_document=np.arange(n, dtype=np.uint32),
        spans=np.array([[0, len(document.text)] for document in documents]),
        doclens=np.full(n, TOKENS, dtype=np.uint32),
        embeddings=rows,
    )
    writer.commit(writer.stage(batch))


def parts(writer):
    """Ids by epoch."""
    found = {}
    with writer.snapshot() as snapshot:
        for view in snapshot.segments:
            epoch = snapshot.manifest.codec_of(view.files.ref).epoch
            ids = [id for docno, id in enumerate(view.passages.ids()) if view.is_alive(docno)]
            found.setdefault(epoch, []).extend(ids)
    return {epoch: sorted(ids) for epoch, ids in found.items()}


def ids_of(prefix, n):
    return [f"{prefix}{number}" for number in range(n)]


def one_segment(writer, encode, pieces):
    """A segment of the first epoch from `(prefix, n)`, then an index grown for the second."""
    for prefix, n in pieces:
        if prefix.startswith("f"):
            add_foreign(writer, prefix, n)
        else:
            add_from_text(writer, encode, prefix, n)
    maintain(writer, encode)
    compact(writer)
    with writer.snapshot() as snapshot:
        assert len(snapshot.segments) == 1
    add_from_text(writer, encode, "grown", 8 * sum(n for _, n in pieces))
    encode.take()


PLACES = {
    "front": [("f", 20), ("t", 50)],
    "end": [("t", 50), ("f", 20)],
    "midst": [("t", 25), ("f", 20), ("u", 25)],
    "scattered": [(f"{name}{k}-", n) for k in range(10) for name, n in (("f", 2), ("t", 5))],
}


@pytest.mark.parametrize("step_tokens", [200, 10**6])
@pytest.mark.parametrize("place", PLACES)
def test_they_stay_alone(tmp_path, monkeypatch, encode, place, step_tokens):
    monkeypatch.setattr(conversion, "ENCODED_STEP_TOKENS", step_tokens)
    pieces = PLACES[place]
    every = {f"{prefix}{k}" for prefix, n in pieces for k in range(n)} | {*ids_of("grown", 560)}
    foreign = sorted(id for id in every if id.startswith("f"))
    with Writer(new_index(tmp_path / "index", bits=2, flat_below_tokens=500)) as writer:
        one_segment(writer, encode, pieces)
        report = maintain(writer, encode)
        # Each document is encoded once, and a few of a large segment before the others.
        assert len(every) <= encode.take() <= len(every) + encoding.PROBED
        assert {"retrain", "convert", "rewrite"} <= {*names(report)}
        (left,) = report.left
        assert left.startswith("convert") and foreign[0].split("-")[0] in left
        assert parts(writer) == {1: foreign, 2: sorted(every - {*foreign})}
        again = maintain(writer, encode)
        assert names(again) == [] and again.left == report.left
        writer.commit([], delete=foreign)
        maintain(writer, encode)
        assert parts(writer) == {2: sorted(every - {*foreign})}
        with writer.snapshot() as snapshot:
            assert len(snapshot.manifest.codecs) == 1


def test_one_step_at_a_time(tmp_path, monkeypatch, encode):
    """Each time a run that knows nothing of those before."""
    monkeypatch.setattr(conversion, "ENCODED_STEP_TOKENS", 200)
    with Writer(new_index(tmp_path / "index", bits=2, flat_below_tokens=500)) as writer:
        one_segment(writer, encode, PLACES["front"])
        while names(report := maintain(writer, encode, max_steps=1)):
            assert len(names(report)) == 1
        assert parts(writer)[1] == sorted(ids_of("f", 20))


def test_a_step_that_was_thrown_away_is_done_again(tmp_path, monkeypatch, encode):
    monkeypatch.setattr(conversion, "ENCODED_STEP_TOKENS", 200)
    real, lost = Replacement.commit, []

    def commit(self):
        if self.merged and not lost:
            lost.append(self)
            self.reason = "another writer was first"
            return None
        return real(self)

    with Writer(new_index(tmp_path / "index", bits=2, flat_below_tokens=500)) as writer:
        one_segment(writer, encode, PLACES["midst"])
        monkeypatch.setattr(Replacement, "commit", commit)
        maintain(writer, encode)
        assert lost and parts(writer)[1] == sorted(ids_of("f", 20))


def test_what_stays_costs_the_next_run_little(tmp_path, monkeypatch, encode):
    """A few of many documents are tried again, and the rest as soon as one of those follows."""
    monkeypatch.setattr(encoding, "PROBED", 8)
    monkeypatch.setattr(conversion, "PROBED", 8)
    monkeypatch.setattr(conversion, "PROBED_FROM", 64)
    with Writer(new_index(tmp_path / "index", bits=2, flat_below_tokens=500)) as writer:
        one_segment(writer, encode, [("f", 100), ("t", 60)])
        report = maintain(writer, encode)
        assert parts(writer)[1] == sorted(ids_of("f", 100))
        encode.take()
        again = maintain(writer, encode)
        assert names(again) == [] and encode.take() == 8
        assert again.left[0].startswith("convert") and len(report.left) == 1


@pytest.mark.parametrize("appends", [False, True])
def test_a_sample_in_vain_costs_little(tmp_path, monkeypatch, encode, appends):
    """An epoch that cannot begin is found out from a few documents, wherever the others stand."""
    monkeypatch.undo()
    monkeypatch.setattr(drift, "MAX_PREFIXES", drift.MAX_PREFIXES if appends else 0)
    monkeypatch.setattr(holding, "HELD_TOKENS", 0)
    with Writer(new_index(tmp_path / "index", bits=2, flat_below_tokens=500)) as writer:
        add_from_text(writer, encode, "t", 100)
        maintain(writer, encode)
        add_from_text(writer, encode, "u", 600)
        add_foreign(writer, "f", 300)
        encode.take()
        report = maintain(writer, encode)
        assert report.left[0].startswith("retrain") and "keeps embeddings" in report.left[0]
        # Appended centroids would serve the others well enough for their conversion to be due:
        # a task of its own, which tries as many.
        tried = [left.split(":")[0] for left in report.left]
        assert tried == (["retrain", "convert"] if appends else ["retrain"])
        assert encode.take() == len(tried) * encoding.PROBED


def test_centroids_are_appended_beside_an_epoch_that_stays(tmp_path, encode):
    with Writer(new_index(tmp_path / "index", bits=2, flat_below_tokens=500)) as writer:
        one_segment(writer, encode, PLACES["front"])
        maintain(writer, encode)
        add_foreign(writer, "other", 400, domain(2, n_topics=8))
        report = maintain(writer, encode)
        assert names(report)[0] == "append"
        with writer.snapshot() as snapshot:
            old, live = snapshot.manifest.codecs
            assert (old.epoch, len(old.prefixes)) == (1, 0)
            assert (live.epoch, len(live.prefixes)) == (2, 1)
            lengths = {id: codec.n_centroids for id, codec in snapshot.codecs.items()}
            assert lengths == {old.id: old.n_centroids, live.id: live.n_centroids}
            assert snapshot.n_documents == 70 + 560 + 400
        assert "append" not in names(maintain(writer, encode))
