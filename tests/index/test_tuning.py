"""`Index.tune`: its recall is that of brute force, and nothing cheaper in its grid would do."""

import itertools
import math

import numpy as np
import pytest
from lineage_tools import DIM, domain, passages, stored, unit

from weft.engine.errors import (
    DimensionMismatchError,
    InvalidInputError,
    InvalidParameterError,
    InvalidQueryError,
)
from weft.engine.index import Index
from weft.engine.tuning.descent import Descent
from weft.engine.tuning.grid import Grid
from weft.engine.tuning.questions import sample_queries
from weft.engine.tuning.report import Setting, Trial, cheapest, pareto_front

K = 5
AMPLE = 1e6
"""Seconds that never run out."""


def near(topics, n, seed):
    """Queries of 8 vectors."""
    return [rows[:8] for rows in passages(topics, n, seed, noise=0.8)]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Several coded segments, some documents deleted."""
    with Index.create(
        tmp_path_factory.mktemp("tuning") / "index", dim=DIM, bits=2, flat_below_tokens=1000
    ) as index:
        for part, size in enumerate((400, 100, 20)):
            rows = passages(domain(1), size, part)
            # Some have more vectors than a sampled query.
            rows[0] = unit(np.concatenate([rows[0]] * 4) + 0.1)
            index.add(ids=[f"{part}-{n}" for n in range(size)], embeddings=rows)
            if part == 1:
                index.compact()
        index.delete(["0-1", "1-2", "2-3"])
        yield index


@pytest.fixture(scope="module")
def oracle(index):
    """id -> decoded rows, by the definition of the format."""
    with index.snapshot() as view:
        rows, _ = stored(view.snapshot)
    return {id: parts[0] for id, parts in rows.items()}


def scores(oracle, query, but=None):
    wanted = query.astype(np.float64)
    return {
        id: float((wanted @ rows.T).max(axis=1).sum()) for id, rows in oracle.items() if id != but
    }


def found_share(oracle, query, hits, k, but=None):
    """Recall of a query by the definition."""
    exact = scores(oracle, query, but)
    least = sorted(exact.values(), reverse=True)[:k][-1] - 1e-4
    kept = [hit.id for hit in hits if hit.id != but][:k]
    return sum(exact[id] >= least for id in kept) / min(k, len(exact))


def parameters(trial):
    return {"nprobe": trial.nprobe, "ndocs": trial.ndocs, "n_rescored": trial.n_rescored}


def test_recall_is_what_brute_force_says(index, oracle):
    queries = near(domain(1), 40, 9)
    result = index.tune(queries, recall=0.9, k=K, seconds=AMPLE)
    assert (result.n_queries, result.n_given, result.sampled) == (40, 40, False)
    for trial in {*result.front, result.chosen, result.default}:
        shares = [
            found_share(oracle, q, index.search(q, K, group_by="passage", **parameters(trial)), K)
            for q in queries
        ]
        assert trial.recall == pytest.approx(np.mean(shares), abs=0.006)
        assert trial.recall_error == pytest.approx(
            np.std(shares, ddof=1) / math.sqrt(40), abs=0.006
        )
    assert result.reached and result.chosen.recall >= 0.9
    assert result.chosen.milliseconds == min(
        t.milliseconds for t in (*result.front, result.chosen) if t.recall >= 0.9
    )


def test_the_call_can_be_copied(index):
    queries = near(domain(1), 10, 3)
    result = index.tune(queries, recall=0.8, k=K, seconds=AMPLE)
    hits = eval(result.call, {"index": index, "query": queries[0]})
    assert hits == index.search(queries[0], K, **parameters(result.chosen))
    assert "k=5" in result.call


def test_sampled_queries_are_beginnings_of_living_passages(index, oracle):
    with index.snapshot() as view:
        queries = sample_queries(view.segments, 10_000)
        assert len(queries) == len(oracle)
        again = sample_queries(view.segments, 7)
        assert [q.source for q in again] == [q.source for q in sample_queries(view.segments, 7)]
        ids = []
        for query in queries:
            segment = view.segments[query.source[0]]
            docno = int(segment.passage_document[query.source[1]])
            ids.append(segment.passages.document(docno).id)
            expected = oracle[ids[-1]][:32]
            assert query.vectors.shape == expected.shape
            np.testing.assert_allclose(query.vectors, expected, atol=1e-3)
    assert sorted(ids) == sorted(oracle)
    assert max(len(query.vectors) for query in queries) == 32


def test_a_sampled_passage_is_no_answer_to_itself(index, oracle):
    result = index.tune(recall=0.8, k=K, sample=25, seconds=AMPLE)
    assert result.sampled and result.n_queries == 25
    assert "optimistic" in result.notes[0]
    with index.snapshot() as view:
        queries = sample_queries(view.segments, 25)
        shares = []
        for query in queries:
            segment = view.segments[query.source[0]]
            docno = int(segment.passage_document[query.source[1]])
            id = segment.passages.document(docno).id
            hits = view.search(
                query.vectors, K + 1, group_by="passage", **parameters(result.default)
            )
            shares.append(found_share(oracle, query.vectors, hits, K, but=id))
    assert result.default.recall == pytest.approx(np.mean(shares), abs=0.01)


def test_hardly_any_time(index):
    result = index.tune(near(domain(1), 30, 4), recall=0.9, k=K, seconds=1e-9)
    assert (result.n_queries, result.n_given) == (1, 30)
    text = " ".join(result.notes)
    assert "1 of 30 queries" in text and "time ran out" in text and "tell little" in text


class Modelled:
    """Stands in for measuring: recall and time are known functions of the setting."""

    def __init__(self, most=1.0, allowed=10**9):
        self.trials, self.n_measured = {}, 0
        self.most, self.allowed = most, allowed

    def trial(self, s):
        shares = (1 - 0.5 / s.nprobe**0.9, 1 - 9 / (s.ndocs + 20), 1 - 6 / (s.n_rescored + 15))
        time = 0.3 + 0.01 * s.nprobe + 0.0002 * s.ndocs + 0.003 * s.n_rescored
        return Trial(s.nprobe, s.ndocs, s.n_rescored, self.most * math.prod(shares), 0.0, time)

    def run(self, settings, deadline, rounds):
        self.n_measured += len(settings)
        if deadline is not None and self.n_measured > self.allowed:
            return False
        self.trials |= {setting: self.trial(setting) for setting in settings}
        return True


DEFAULT = Setting(32, 1024, 256)


@pytest.mark.parametrize("wanted", [0.6, 0.8, 0.9, 0.95, 0.98])
def test_the_descent_comes_near_the_cheapest_of_all(wanted):
    grid, model = Grid.of(10, 100_000), Modelled()
    assert Descent(grid, model, wanted, 0.0).run(DEFAULT)
    every = [
        model.trial(Setting(*values))
        for values in itertools.product(grid.nprobe, grid.ndocs, grid.n_rescored)
        if values[2] <= values[1]
    ]
    optimum = min(t.milliseconds for t in every if t.recall >= wanted)
    chosen = cheapest(model.trials.values(), wanted)
    assert chosen.recall >= wanted
    assert optimum <= chosen.milliseconds <= 1.1 * optimum
    assert len(model.trials) < len(every) / 5


def test_out_of_reach_is_the_best_there_is():
    grid, model = Grid.of(10, 3000), Modelled(most=0.7)
    assert Descent(grid, model, 0.9, 0.0).run(DEFAULT)
    assert cheapest(model.trials.values(), 0.9).setting == Setting(64, 3000, 3000)


def test_the_descent_says_when_the_time_ran_out():
    for allowed in (6, 12):
        grid, model = Grid.of(10, 100_000), Modelled(allowed=allowed)
        assert not Descent(grid, model, 0.98, 0.0).run(DEFAULT)
        assert model.trials


@pytest.mark.parametrize(("k", "n"), [(1, 2), (10, 11), (10, 5000), (1000, 1001), (3, 10**8)])
def test_the_grid_is_of_valid_settings(k, n):
    grid = Grid.of(k, n)
    ladder = list(grid.ladder())
    for lower, higher in itertools.pairwise(ladder):
        assert lower.within(higher) and lower != higher
    assert ladder[-1].ndocs == ladder[-1].n_rescored == min(n, 1_000_000)
    for setting in ladder:
        steps = [*grid.below(setting), *grid.exchanges(setting)]
        for step in (setting, *steps):
            assert k <= step.n_rescored <= step.ndocs <= min(n, 1_000_000)
        assert all(step.within(setting) for step in grid.below(setting))
        assert not any(step.within(setting) for step in grid.exchanges(setting))


def test_the_front_is_what_none_beats():
    rng = np.random.default_rng(0)
    trials = [
        Trial(n, 8, 8, float(rng.integers(20)) / 20, 0.0, float(rng.integers(20)))
        for n in range(60)
    ]
    beaten = {
        a for a in trials for b in trials
        if b.recall >= a.recall and b.milliseconds <= a.milliseconds
        and (b.recall > a.recall or b.milliseconds < a.milliseconds)
    }  # fmt: skip
    front = pareto_front(trials)
    assert {(t.recall, t.milliseconds) for t in front} == {
        (t.recall, t.milliseconds) for t in trials if t not in beaten
    }
    assert [t.milliseconds for t in front] == sorted(t.milliseconds for t in front)


@pytest.mark.parametrize(
    "wrong",
    [{"recall": 0}, {"recall": 1.01}, {"recall": float("nan")}, {"recall": "0.9"},
     {"recall": True}, {"k": 0}, {"k": 1001}, {"k": 2.5}, {"seconds": 0}, {"seconds": math.inf},
     {"seconds": "1"}, {"sample": 0}, {"sample": 10_001}, {"sample": 1.5}],
)  # fmt: skip
def test_bounds_are_checked(index, wrong):
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        index.tune(**wrong)


@pytest.mark.parametrize("queries", ["words", [], {"a": 1}, 7, [b"words"], [["some", "words"]]])
def test_queries_are_checked(index, queries):
    with pytest.raises(InvalidQueryError):
        index.tune(queries)


def test_queries_of_another_kind(index):
    with pytest.raises(DimensionMismatchError):
        index.tune([np.eye(DIM + 1, dtype=np.float32)])
    with pytest.raises(InvalidQueryError, match="ready-made"):
        index.tune(["a text"])
    with pytest.raises(InvalidParameterError, match="exclude each other"):
        index.tune(near(domain(1), 2, 0), sample=5)


def test_nothing_to_tune(index, tmp_path):
    with pytest.raises(InvalidInputError, match=r"no more than the k"):
        index.tune(k=600)
    with Index.create(tmp_path / "flat", dim=DIM) as flat:
        with pytest.raises(InvalidInputError, match="Nothing to tune"):
            flat.tune()
        flat.add(ids=["a"], embeddings=[np.eye(DIM, dtype=np.float32)])
        with pytest.raises(InvalidInputError, match="no passage of the index is compressed"):
            flat.tune()
