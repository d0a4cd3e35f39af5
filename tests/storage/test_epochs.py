"""Codecs of several epochs and prefixes in one index: what is stored stays, search merges them."""

from dataclasses import replace

import numpy as np
import pytest
from lineage_tools import (
    DIM,
    add,
    batch_of,
    domain,
    fill,
    is_best,
    new_index,
    passages,
    scores_of,
    stored,
    unit,
)

from weft.engine.codec import train_codec
from weft.engine.index import Index
from weft.engine.storage import lineage
from weft.engine.storage.compaction import compact
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.replacement import Replacement
from weft.engine.storage.writer import Writer

pytestmark = pytest.mark.usefixtures("unheld")


def commit_codec(writer, write):
    """Commit a codec alone, as a step of maintenance does."""
    with writer.snapshot() as base, Replacement(writer, base) as work:
        write(work)
        assert work.commit() is not None


def append(writer):
    commit_codec(writer, lambda work: lineage.append(work, seed=0))


def retrain(writer):
    commit_codec(writer, lambda work: lineage.retrain(work, None, seed=0))


@pytest.fixture(params=[1, 2, 4, 8])
def grown(tmp_path, request):
    """Segments of a prefix, of the longer codec, of the next epoch, and a flat one."""
    directory = new_index(tmp_path / "index", bits=request.param)
    store = {}
    with Writer(directory) as writer:
        fill(writer, store, "flat", passages(domain(3), 5, 9))
        staged = writer.stage(batch_of(["late"], passages(domain(3), 1, 19)))
        fill(writer, store, "a", passages(domain(1), 100, 1))
        maintain(writer)
        fill(writer, store, "b", passages(domain(2), 60, 2))
        append(writer)
        fill(writer, store, "c", passages(domain(2), 60, 3))
        retrain(writer)
        fill(writer, store, "d", passages(domain(1), 60, 4))
        writer.commit(staged)
        writer.commit([], delete=["a3", "b4", "c5", "d6"])
    store = {id: rows for id, rows in store.items() if id not in ("a3", "b4", "c5", "d6")}
    return directory, store | {"late": passages(domain(3), 1, 19)[0]}


def queries(n=6):
    rng = np.random.default_rng(5)
    topics = np.concatenate([domain(1), domain(2), domain(3)])
    for size in rng.integers(1, 9, size=n):
        noise = 0.4 * rng.normal(size=(int(size), DIM)) / np.sqrt(DIM)
        yield unit(topics[rng.integers(len(topics), size=size)] + noise)


def test_what_stands_in_such_an_index(grown):
    directory, store = grown
    with Writer(directory) as writer, writer.snapshot() as snapshot:
        manifest = snapshot.manifest
        assert [codec.epoch for codec in manifest.codecs] == [1, 2]
        old, live = manifest.codecs
        assert len(old.prefixes) == 1 and not live.prefixes
        lengths = {s.n_centroids for s in manifest.segments if manifest.codec_of(s) is old}
        assert lengths == {old.prefixes[0].n_centroids, old.n_centroids}
        assert {s.n_centroids for s in manifest.segments} == lengths | {live.n_centroids, 0}
        rows, documents = stored(snapshot)
        assert set(rows) == set(documents) == set(store)
        for id, ((part,), document) in zip_values(rows, documents):
            cosines = (unit(part) * store[id]).sum(axis=1)
            assert cosines.mean() > 0.5
            assert document.text == f"text of {id}"


def zip_values(a, b):
    return [(key, (a[key], b[key])) for key in a]


@pytest.mark.parametrize(
    ("parameters", "per_vector"),
    [
        ({"exact": True}, 1e-4),
        ({"nprobe": 4096, "ndocs": 1000, "algorithm": "plaid"}, 1e-4),
        # About six deviations of what rounding to bytes does to a product of 24 dimensions.
        ({"nprobe": 4096, "ndocs": 1000}, 0.02),
    ],
)
def test_search_agrees_with_brute_force_over_what_is_stored(grown, parameters, per_vector):
    with Index.open(grown[0].path) as index, index.snapshot() as view:
        rows, _ = stored(view.snapshot)
        for query in queries():
            scores = scores_of(rows, query)
            for k in (1, 10, 300):
                hits = [(hit.id, hit.score) for hit in view.search(query, k, **parameters)]
                assert is_best(hits, scores, k, per_vector * len(query))


def test_shortlists_of_both_epochs_share_the_answer(grown):
    """With narrow shortlists too: each hit scores as stored, and each epoch gives its best."""
    with Index.open(grown[0].path) as index, index.snapshot() as view:
        rows, _ = stored(view.snapshot)
        for query in queries():
            scores = scores_of(rows, query)
            hits = view.search(query, 10, nprobe=8, ndocs=40)
            assert len(hits) == 10
            assert all(abs(hit.score - scores[hit.id]) < 1e-3 for hit in hits)
            best = max(scores, key=scores.get)
            assert abs(hits[0].score - scores[best]) < 0.15 * len(query)


def test_explanations_are_of_the_segment_s_own_epoch(grown):
    with Index.open(grown[0].path) as index, index.snapshot() as view:
        rows, _ = stored(view.snapshot)
        for query in queries(3):
            scores = scores_of(rows, query)
            for id in ("flat1", "late", "a1", "b1", "c1", "d1"):
                assert view.explain(query, id).total == pytest.approx(scores[id], abs=1e-3)


def codes_of(snapshot):
    """Segment id -> what is stored and what it decodes to, by the kernels."""
    found = {}
    for view in snapshot.segments:
        if view.kind == "coded":
            for name in ("codes", "residuals", "inverse_norms"):
                view.touch_all(name)
            parts = (view.codes, view.residuals, view.inverse_norms)
            found[view.id] = view.codec.decompress(*parts).tobytes()
    return found


def test_segments_of_a_prefix_decode_bit_by_bit_as_before(tmp_path):
    directory = new_index(tmp_path / "index", bits=2)
    with Writer(directory) as writer:
        fill(writer, {}, "a", passages(domain(1), 100, 1))
        maintain(writer)
        for n in range(2, 5):
            fill(writer, {}, f"d{n}-", passages(domain(n), 50, n))
            with writer.snapshot() as snapshot:
                before = codes_of(snapshot)
            append(writer)
            with writer.snapshot() as snapshot:
                assert codes_of(snapshot) == before
                assert len(snapshot.manifest.codec.prefixes) == n - 1


def test_compact_converts_what_it_can(grown):
    directory, store = grown
    with Writer(directory) as writer:
        with writer.snapshot() as snapshot:
            bits = snapshot.manifest.settings.bits
            before = codes_of(snapshot)
        report = compact(writer)
        assert report.committed and report.dropped_documents == 4
        with writer.snapshot() as snapshot:
            rows, _ = stored(snapshot)
            assert set(rows) == set(store)
            after = codes_of(snapshot)
            epochs = [codec.epoch for codec in snapshot.manifest.codecs]
        # Compressed twice from 4 bits and more; of 1 and 2 bits each byte stays.
        assert epochs == ([2] if bits >= 4 else [1, 2])
        assert len(before) > len(after)
        assert not compact(writer).committed
        for id, (part,) in rows.items():
            assert (unit(part) * store[id]).sum(axis=1).mean() > (0.9 if bits >= 4 else 0.5)


def test_codes_of_a_short_prefix_are_widened_where_they_are_merged(tmp_path, monkeypatch):
    """65,536 centroids fit two bytes per code; appended ones need four."""
    directory = new_index(tmp_path / "index", bits=8)
    centroids = unit(np.random.default_rng(0).normal(size=(1 << 16, DIM)))
    centroids = centroids.astype(np.float16).astype(np.float32)
    with Writer(directory) as writer:
        fill(writer, {}, "a", passages(domain(1), 100, 1))

        def enlarged(*sample, **options):
            codec, training = train_codec(*sample, **options)
            larger = replace(codec, centroids=centroids, cells=None)
            # What it serves, so that nothing has drifted.
            cosine = float(larger.centroid_cosines(sample[0]).mean())
            return larger, replace(training, centroid_cosine=cosine, far_cosine=-1.0)

        with monkeypatch.context() as patch:
            patch.setattr(lineage, "train_codec", enlarged)
            maintain(writer)
        fill(writer, {}, "b", passages(domain(2), 30, 2))
        with monkeypatch.context() as patch:
            patch.setattr(lineage, "drifted_views", lambda base: base.segments)
            append(writer)
        fill(writer, {}, "c", passages(domain(2), 30, 3))
        with writer.snapshot() as snapshot:
            kinds = [view.codes.dtype.itemsize for view in snapshot.segments]
            before, _ = stored(snapshot)
        assert kinds == [2, 2, 4]
        assert compact(writer).segments_after == 1
        with writer.snapshot() as snapshot:
            (view,) = snapshot.segments
            after, _ = stored(snapshot)
            assert view.codes.dtype.itemsize == 4
        assert all(np.array_equal(before[id][0], after[id][0]) for id in before)


def test_adding_goes_on_with_the_live_codec(grown):
    directory, _ = grown
    with Writer(directory) as writer:
        add(writer, ["new"], passages(domain(1), 1, 77))
        with writer.snapshot() as snapshot:
            assert snapshot.segments[-1].codec_id == snapshot.manifest.codec.id
