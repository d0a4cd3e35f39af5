"""What the codec serves badly is held until centroids were appended, and compressed once."""

import numpy as np
import pytest
from lineage_tools import (
    DIM,
    check,
    domain,
    epochs,
    fill,
    names,
    new_index,
    passages,
    scores_of,
    stored,
    unit,
)

from weft.engine.index import Index
from weft.engine.storage import drift, holding, tiers
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.writer import Writer


@pytest.fixture(params=[2, 4])
def coded(tmp_path, request):
    """An index of one domain, compressed; and what is in it."""
    directory, store = new_index(tmp_path / "index", bits=request.param), {}
    with Writer(directory) as writer:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        assert names(maintain(writer)) == ["train", "convert"]
    return directory, store


def kinds(writer):
    with writer.snapshot() as snapshot:
        return [view.kind for view in snapshot.segments]


def losses(writer, store, prefix):
    """Mean squared distance of documents to what the index keeps of them, by NumPy's decoder."""
    with writer.snapshot() as snapshot:
        rows, _ = stored(snapshot)
    wanted = [id for id in store if id.startswith(prefix)]
    return np.mean([np.square(rows[id][0] - store[id]).sum(axis=1).mean() for id in wanted])


def test_another_domain_is_held_and_the_same_one_is_not(coded):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(1), 20, 2))
        fill(writer, store, "c", passages(domain(2), 4, 3))
        assert kinds(writer) == ["coded", "coded", "flat"]
        # Too little for a longer codec: it waits, and is as it was handed in.
        assert names(maintain(writer)) == []
        assert losses(writer, store, "c") < 1e-6
        # So it does for a reader who comes later.
        again = LocalDirectory(directory.path, durable=False)
        with Writer(again) as other:
            assert names(maintain(other)) == []
    check(directory, store)


def test_it_is_compressed_once_by_a_codec_that_knows_it(coded, monkeypatch):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(2), 60, 2))
        assert kinds(writer) == ["coded", "flat"]
        assert names(maintain(writer)) == ["append", "convert"]
        assert set(kinds(writer)) == {"coded"}
        held = losses(writer, store, "b")
        assert names(maintain(writer)) == []
    assert epochs(directory) == [(1, 1)]
    check(directory, store)
    # Beside an index that compresses as it comes, and again where its bits allow it.
    monkeypatch.setattr(holding, "HELD_TOKENS", 0)
    bits = Index.open(directory.path).stats().bits
    with Writer(new_index(directory.path.parent / "other", bits=bits)) as writer:
        fill(writer, {}, "a", passages(domain(1), 100, 1))
        maintain(writer)
        fill(writer, {}, "b", passages(domain(2), 60, 2))
        assert names(maintain(writer))[0] == "append"
        assert held < 0.8 * losses(writer, store, "b")


def test_a_search_finds_what_is_held_exactly(coded):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(2), 30, 2))
        assert kinds(writer)[-1] == "flat"
    query = unit(np.random.default_rng(3).normal(size=(3, DIM)) + 4 * store["b7"][:3])
    exact = scores_of({id: [rows] for id, rows in store.items()}, query)
    best = max(exact, key=exact.get)
    assert best.startswith("b")
    with Index.open(directory.path) as index:
        (hit,) = index.search(query, 1)
        assert hit.id == best and hit.score == pytest.approx(exact[best], abs=1e-2)


def test_what_is_held_is_bounded(coded, monkeypatch):
    directory, store = coded
    monkeypatch.setattr(holding, "HELD_TOKENS", 250)
    with Writer(directory) as writer:
        for n in range(4):
            fill(writer, store, f"b{n}-", passages(domain(2), 10, 2 + n))
        assert kinds(writer) == ["coded", "flat", "flat", "coded", "coded"]
        # Together they call for centroids, whether they were held or not.
        assert names(maintain(writer))[0] == "append"
    check(directory, store)


def test_small_held_segments_are_merged_and_stay_held(coded, monkeypatch):
    directory, store = coded
    monkeypatch.setattr("weft.engine.storage.lineage.DRIFTED_SHARE", 0.9)
    with Writer(directory) as writer:
        for n in range(tiers.FANOUT):
            fill(writer, store, f"b{n}-", passages(domain(2), 1, 2 + n))
        assert names(maintain(writer)) == ["merge"]
        assert kinds(writer) == ["coded", "flat"]
        assert names(maintain(writer)) == []
        monkeypatch.undo()
        assert names(maintain(writer)) == ["append", "convert"]
    check(directory, store)


def test_compaction_waits_for_nothing(coded):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(2), 4, 2))
        assert compact(writer).committed
        assert kinds(writer) == ["coded"]
    check(directory, store)


def test_where_no_centroids_can_be_appended_nothing_is_held(coded, monkeypatch):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(2), 4, 2))
        monkeypatch.setattr(drift, "MAX_PREFIXES", 0)
        fill(writer, store, "c", passages(domain(2), 4, 3))
        assert kinds(writer) == ["coded", "flat", "coded"]
        assert names(maintain(writer)) == ["convert"]
        assert set(kinds(writer)) == {"coded"}
    check(directory, store)


def test_a_codec_with_appended_centroids_is_not_trained_anew_for_growth(coded):
    """They follow the growth, and a new epoch would compress everything a second time."""
    directory, store = coded
    with Writer(directory) as writer:
        for n in range(12):
            fill(writer, store, f"b{n}-", passages(domain(2 + n), 80, 50 + n))
            assert "retrain" not in names(maintain(writer))
    ((epoch, appends),) = epochs(directory)
    assert epoch == 1 and appends > 4
    check(directory, store)


def test_it_does_not_wait_for_ever(coded, monkeypatch):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(2), 4, 2))
        assert names(maintain(writer)) == []
        monkeypatch.setattr(holding, "HELD_SECONDS", 0.0)
        assert names(maintain(writer)) == ["convert"]
        assert set(kinds(writer)) == {"coded"}
    assert epochs(directory) == [(1, 0)]
    check(directory, store)
