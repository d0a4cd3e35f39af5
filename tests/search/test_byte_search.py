"""The default search in bytes through the engine, against MaxSim by brute force."""

import numpy as np
import pytest
from plaid_oracle import maxsim
from stand_ins import coded_segment, flat_segment

from weft import kernels
from weft.engine.codec import train_codec
from weft.engine.search.pipeline import FEW, rank
from weft.engine.search.plan import make_plan

DIM = 32
N = 600


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def topics():
    return unit(np.random.default_rng(1).normal(size=(60, DIM)))


@pytest.fixture(scope="module")
def passages(topics):
    """Tokens that lie about one of a few topics, as words do."""
    random = np.random.default_rng(2)
    made = []
    for _ in range(N):
        chosen = topics[random.choice(60, size=6, replace=False)][random.integers(0, 6, size=12)]
        made.append(unit(chosen + 0.15 * random.normal(size=chosen.shape)))
    return made


@pytest.fixture(scope="module")
def codec(passages):
    rows = np.concatenate(passages)
    return train_codec(rows, n_embeddings=len(rows), bits=4, n_centroids=256)[0]


@pytest.fixture(scope="module")
def rebuilt(codec, passages):
    """What compression leaves of the passages: the most that a search can go by."""
    packed = codec.compress(np.concatenate(passages))
    rows = codec.decompress(packed.codes, packed.residuals, packed.inverse_norms)
    return np.split(rows, len(passages))


@pytest.fixture(params=["baseline", "avx2", "avx512", "amx"])
def target(request):
    if request.param not in kernels.targets():
        pytest.skip(f"this machine has no {request.param}")
    with kernels.use_target(request.param):
        yield


def coded(codec, passages, **more):
    packed = codec.compress(np.concatenate(passages))
    return coded_segment(
        packed.codes,
        packed.residuals,
        packed.inverse_norms,
        [len(passage) for passage in passages],
        DIM,
        codec.n_centroids,
        True,
        codec=codec,
        **more,
    )


def queries_of(passages, n=20):
    """Some tokens of a passage, not quite as they are."""
    random = np.random.default_rng(3)
    for pid in random.choice(len(passages), size=n, replace=False):
        rows = passages[pid][random.choice(12, size=8, replace=False)]
        yield unit(rows + 0.05 * random.normal(size=rows.shape))


def exact_scores(query, passages):
    return np.array([maxsim(query, passage) for passage in passages])


def recall(ranking, starts, scores, k):
    ids = [starts[s] + p for s, p in zip(ranking.segment, ranking.pid, strict=True)][:k]
    worst = np.sort(scores)[-k] - 1e-4
    return np.mean(scores[ids] >= worst)


def halves(codec, passages):
    return [coded(codec, passages[:400]), coded(codec, passages[400:])], [0, 400]


@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_efforts_find_what_brute_force_finds(codec, passages, target, effort):
    segments, starts = halves(codec, passages)
    plan = make_plan(10, effort=effort, group_by="passage", ndocs=200, n_rescored=60)
    found = [
        recall(rank(query, segments, plan), starts, exact_scores(query, passages), 10)
        for query in queries_of(passages)
    ]
    assert np.mean(found) >= 0.9


def test_scores_are_those_of_reconstructed_vectors(codec, passages, rebuilt, target):
    segments, starts = halves(codec, passages)
    for query in queries_of(passages, 5):
        scores = exact_scores(query, rebuilt)
        ranking = rank(query, segments, make_plan(100, group_by="passage"))
        ids = [starts[s] + p for s, p in zip(ranking.segment, ranking.pid, strict=True)]
        assert (np.diff(ranking.score) <= 0).all()
        # Of unit vectors: a byte's rounding for query, centroid, weights and the table of scores.
        np.testing.assert_allclose(ranking.score, scores[ids], atol=8 * 0.03)
        first = scores[ids[:5]]
        np.testing.assert_allclose(np.sort(first)[::-1], first, atol=8 * 0.01)


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_a_filter_does_not_cost_recall(codec, passages, rebuilt, share):
    """What it leaves is what the shortlist is made of, however little that is."""
    segments, starts = halves(codec, passages)
    random = np.random.default_rng(5)
    mask = random.random(N) < share
    plan = make_plan(5, group_by="passage", ndocs=80, n_rescored=40)
    found = []
    for query in queries_of(passages):
        scores = np.where(mask, exact_scores(query, rebuilt), -np.inf)
        ranking = rank(query, segments, plan, [mask[:400], mask[400:]])
        assert len(ranking) >= min(5, mask.sum())
        ids = [starts[s] + p for s, p in zip(ranking.segment, ranking.pid, strict=True)]
        assert mask[ids].all()
        found.append(recall(ranking, starts, scores, min(5, int(mask.sum()))))
    assert np.mean(found) >= 0.95


def test_a_large_k_is_widened_until_all_are_there(codec, passages):
    segments, _ = halves(codec, passages)
    query = next(queries_of(passages))
    for k in (FEW, 300, N, 2 * N):
        plan = make_plan(k, nprobe=1, ndocs=70, group_by="passage")
        ranking = rank(query, segments, plan)
        names = set(zip(ranking.segment.tolist(), ranking.pid.tolist(), strict=True))
        assert len(names) == len(ranking) == min(k, N)


def test_flat_and_coded_share_one_ranking(codec, passages):
    segments = [flat_segment(passages[:100]), coded(codec, passages[100:])]
    for query in queries_of(passages, 5):
        scores = exact_scores(query, passages)
        ranking = rank(query, segments, make_plan(10, group_by="passage"))
        assert recall(ranking, [0, 100], scores, 10) >= 0.8


def test_queries_longer_than_bytes_take_go_stage_by_stage(codec, passages):
    query = np.concatenate(list(queries_of(passages, 20)) * 7)[:1100]
    segments, starts = halves(codec, passages)
    ranking = rank(query, segments, make_plan(5, group_by="passage"))
    assert recall(ranking, starts, exact_scores(query, passages), 5) >= 0.8


def test_both_algorithms_agree_on_the_first(codec, passages):
    segments, _ = halves(codec, passages)
    same = 0
    for query in queries_of(passages):
        weft, plaid = (
            rank(query, segments, make_plan(1, algorithm=name, group_by="passage"))
            for name in ("weft", "plaid")
        )
        same += (weft.segment[0], weft.pid[0]) == (plaid.segment[0], plaid.pid[0])
    assert same >= 19
