"""Ranking over mixed segments: widening, grouping, ties, filters, checked reads."""

import numpy as np
import pytest
from coded_oracle import EPSILON, QUERY_LEVELS, Collection, Oracle, Segment
from plaid_oracle import maxsim
from rotations import turned
from stand_ins import coded_segment, flat_segment

from weft import kernels
from weft.engine.codec import train_codec
from weft.engine.errors import CorruptIndexError, DimensionMismatchError, InvalidQueryError
from weft.engine.search.pipeline import FEW, rank
from weft.engine.search.plan import MOST_EXACT, make_plan
from weft.engine.search.ranking import MAX_TIES

DIM = 16
NARROW = {"nprobe": 1, "centroid_score_threshold": 0.5, "ndocs": 8}


def unit(n, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def passages_of(n, seed=0):
    lengths = np.random.default_rng(seed).integers(1, 9, size=n)
    return np.split(unit(int(lengths.sum()), seed + 1), np.cumsum(lengths)[:-1])


@pytest.fixture(scope="module")
def codec():
    return train_codec(unit(3000, 7), n_embeddings=3000, bits=8, n_centroids=64)[0]


def coded(codec, passages, sparse=True, **more):
    packed = codec.compress(np.concatenate(passages))
    return coded_segment(
        packed.codes,
        packed.residuals,
        packed.inverse_norms,
        [len(passage) for passage in passages],
        codec.dim,
        codec.n_centroids,
        sparse,
        codec=codec,
        **more,
    )


def found(ranking):
    return list(zip(ranking.segment.tolist(), ranking.pid.tolist(), strict=True))


def brute_force(query, parts):
    scores = {
        (s, p): maxsim(query, passage)
        for s, passages in enumerate(parts)
        for p, passage in enumerate(passages)
    }
    return sorted(scores, key=lambda name: (-scores[name], name)), scores


def test_flat_and_coded_segments_share_one_ranking(codec):
    parts = [passages_of(40, 1), passages_of(50, 2), passages_of(1, 3)]
    segments = [flat_segment(parts[0]), coded(codec, parts[1]), flat_segment(parts[2])]
    for seed in range(5):
        query = unit(6, 100 + seed)
        order, scores = brute_force(query, parts)
        ranking = rank(query, segments, make_plan(91, group_by="passage"))
        assert sorted(found(ranking)) == sorted(order)
        np.testing.assert_allclose(
            ranking.score, [scores[name] for name in found(ranking)], atol=0.1
        )
        assert (np.diff(ranking.score) <= 0).all()
        best = rank(query, segments, make_plan(5, group_by="passage"))
        assert found(best) == found(ranking)[:5]


def test_two_of_two(codec):
    away = np.eye(DIM, dtype=np.float32)
    segments = [coded(codec, [away[:1]]), coded(codec, [away[1:2]])]
    for parameters in ({}, NARROW, {**NARROW, "ndocs": 1}):
        ranking = rank(-away[:1], segments, make_plan(2, **parameters))
        assert sorted(found(ranking)) == [(0, 0), (1, 0)]


@pytest.mark.parametrize("k", [1, 7, 60, 200, 500])
def test_a_narrow_shortlist_is_widened_to_k(codec, k):
    segments = [coded(codec, passages_of(120, 4)), coded(codec, passages_of(80, 5))]
    plan = make_plan(k, **NARROW, group_by="passage")
    ranking = rank(unit(3, 6), segments, plan)
    assert len(set(found(ranking))) == len(ranking) == min(k, 200)


def test_pruned_passages_only_fill_up(codec):
    """With a threshold that nothing reaches, every approximate score is -inf."""
    parts = [passages_of(100, 8)]
    plan = make_plan(10, nprobe=64, centroid_score_threshold=5.0, ndocs=60, group_by="passage")
    ranking = rank(unit(4, 9), [coded(codec, parts[0])], plan)
    assert len(ranking) == 10
    assert np.isfinite(ranking.score).all()


def test_negative_matches_count(codec):
    passages, query = against(30)
    stored = np.concatenate(passages).astype(np.float16).astype(np.float64)
    exact = (stored @ query.T.astype(np.float64)).ravel()
    assert exact.min() < 0
    off, _ = errors(rank(query, [flat_segment(passages)], make_plan(30)), exact)
    assert off.max() <= float_error(query)


@pytest.mark.parametrize("n", [30, 300])
def test_negative_matches_count_when_compressed(codec, n):
    """As the codec rebuilds them: few are scored in float32, of many only the best ten."""
    passages, query = against(n)
    exact, clipped, rounding = oracle_of(codec, passages, query).passages(0)
    assert exact.min() < 0
    ranking = rank(query, [coded(codec, passages)], make_plan(n))
    off, pids = errors(ranking, exact)
    in_float = off <= float_error(query)
    assert len(pids) == n and ranking.score.min() < 0
    assert in_float.sum() >= (n if n <= FEW else MOST_EXACT)
    assert (in_float | (np.abs(ranking.score - clipped[pids]) <= rounding[pids])).all()


def against(n):
    """Passages of one token, and a query of length 10 away from the mean of them all."""
    passages = passages_of(n, 10)
    query = -np.concatenate(passages).mean(axis=0, keepdims=True)
    return [passage[:1] for passage in passages], 10 * query / np.linalg.norm(query)


def errors(ranking, exact):
    pids = ranking.pid.astype(np.int64)
    return np.abs(ranking.score - exact[pids]), pids


def float_error(query):
    """Of MaxSim in float32 on unit vectors, as kernels/README.md states it."""
    return (DIM + 4) * EPSILON * np.linalg.norm(query, axis=1).sum()


def oracle_of(codec, passages, query):
    """Scores in float64 on what 8 bits stand for; a byte is the number of its bucket."""
    packed = codec.compress(np.concatenate(passages))
    tokens = (packed.codes, packed.residuals, packed.inverse_norms, packed.residuals)
    offsets = np.cumsum([0, *map(len, passages)])
    segment = Segment(*tokens, offsets, codec.n_centroids, None, None, None)
    norm_range = tuple(codec.inverse_norm_range.astype(np.float64))
    collection = Collection(codec.centroids, codec.bucket_weights, norm_range, [segment])
    return Oracle(collection, turned(codec.rotation, query), QUERY_LEVELS[kernels.active_target()])


def test_a_document_is_found_once_by_its_best_passage(codec):
    passages = passages_of(60, 11)
    owner = np.repeat(np.arange(20), 3)
    for segment in (
        flat_segment(passages, passage_document=owner),
        coded(codec, passages, passage_document=owner),
    ):
        query = unit(5, 12)
        whole = rank(query, [segment], make_plan(60, group_by="passage"))
        wanted = {}
        for (_, pid), score in zip(found(whole), whole.score.tolist(), strict=True):
            wanted.setdefault(int(owner[pid]), (pid, score))
        ranking = rank(query, [segment], make_plan(20))
        got = {int(owner[p]): p for _, p in found(ranking)}
        assert got == {document: pid for document, (pid, _) in wanted.items()}
        best = [wanted[int(owner[p])][1] for _, p in found(ranking)]
        np.testing.assert_allclose(ranking.score, best, rtol=1e-6)
        few = rank(query, [segment], make_plan(4))
        assert found(few) == found(ranking)[:4]


def test_one_document_does_not_crowd_out_the_others(codec):
    """The best passages are all of one document: the shortlist grows until k are found."""
    query = unit(1, 13)
    near = [query + 0.01 * unit(1, 1000 + i) for i in range(300)]
    near = [(row / np.linalg.norm(row)).astype(np.float32) for row in near]
    far = passages_of(40, 14)
    owner = np.concatenate((np.zeros(300, dtype=int), 1 + np.arange(40)))
    segment = coded(codec, near + far, passage_document=owner)
    ranking = rank(query, [segment], make_plan(10, **NARROW))
    assert len({int(owner[pid]) for _, pid in found(ranking)}) == len(ranking) == 10
    assert found(ranking)[0][1] < 300


def test_equal_scores_come_by_segment_and_pid_and_none_is_cut_off(codec):
    row = unit(1, 15)
    for make in (flat_segment, lambda passages: coded(codec, passages)):
        segments = [make([row] * 3), make([unit(1, 16), row])]
        ranking = rank(row, segments, make_plan(2, group_by="passage"))
        assert found(ranking) == [(0, 0), (0, 1), (0, 2), (1, 1)]


def test_ties_are_handed_on_up_to_a_bound():
    row = unit(1, 17)
    segment = flat_segment([row] * (MAX_TIES + 500))
    for grouping in ("passage", "document"):
        ranking = rank(row, [segment], make_plan(10, group_by=grouping))
        assert found(ranking) == [(0, pid) for pid in range(10 + MAX_TIES)]


def test_only_what_lives_and_is_allowed_is_found(codec):
    rng = np.random.default_rng(18)
    parts = [passages_of(90, 19), passages_of(70, 20)]
    alive, allowed = rng.random(90) < 0.7, rng.random(70) < 0.3
    segments = [coded(codec, parts[0], alive=alive), flat_segment(parts[1])]
    wanted = {(0, p) for p in np.flatnonzero(alive)} | {(1, p) for p in np.flatnonzero(allowed)}
    for parameters in ({}, NARROW, {"exact": True}):
        plan = make_plan(500, **parameters, group_by="passage")
        ranking = rank(unit(4, 21), segments, plan, [None, allowed])
        assert set(found(ranking)) == wanted
        ranking = rank(unit(4, 21), segments, plan, [allowed_none(90), allowed_none(70)])
        assert len(ranking) == 0


def allowed_none(n):
    return np.zeros(n, dtype=bool)


def test_a_filter_that_leaves_few_is_answered_exhaustively(codec):
    """The allowed passages lie far from the query, where no narrow probe would look."""
    passages = passages_of(400, 22)
    query = unit(5, 23)
    order, scores = brute_force(query, [passages])
    allowed = np.zeros(400, dtype=bool)
    allowed[[pid for _, pid in order[-8:]]] = True
    plan = make_plan(5, **NARROW, group_by="passage")
    ranking = rank(query, [coded(codec, passages)], plan, [allowed])
    np.testing.assert_allclose(ranking.score, [scores[name] for name in order[-8:-3]], atol=0.05)


@pytest.mark.parametrize("parameters", [{}, {"exact": True}, {**NARROW, "ndocs": 32}])
def test_rows_are_verified_before_they_are_read(codec, parameters):
    """Stand-ins hold garbage in rows that were not touched: only the same answer passes."""
    parts = [passages_of(60, 24), passages_of(60, 25)]
    query = unit(5, 26)
    plan = make_plan(10, **parameters)
    fresh = [coded(codec, parts[0], sparse=True), flat_segment(parts[1])]
    known = [coded(codec, parts[0], sparse=True), flat_segment(parts[1])]
    for segment in known:
        for name, array in segment.true.items():
            setattr(segment, name, array)
    a, b = (rank(query, segments, plan) for segments in (fresh, known))
    assert found(a) == found(b)
    assert a.score.tobytes() == b.score.tobytes()


def test_nothing_to_search_gives_nothing():
    assert len(rank(unit(2), [], make_plan())) == 0
    segment = flat_segment(passages_of(3), alive=np.zeros(3, dtype=bool))
    assert len(rank(unit(2), [segment], make_plan())) == 0


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (np.empty((0, DIM), dtype=np.float32), InvalidQueryError),
        (np.ones(DIM, dtype=np.float32), InvalidQueryError),
        (np.ones((4097, DIM), dtype=np.float32), InvalidQueryError),
        (np.full((1, DIM), np.nan, dtype=np.float32), InvalidQueryError),
        (np.full((1, DIM), -np.inf, dtype=np.float32), InvalidQueryError),
        (np.ones((1, DIM + 1), dtype=np.float32), DimensionMismatchError),
    ],
)
def test_unusable_queries_are_refused(query, error):
    with pytest.raises(error):
        rank(query, [flat_segment(passages_of(3))], make_plan())


def test_coded_segments_without_a_codec_are_damage(codec):
    segment = coded(codec, passages_of(3))
    segment.codec = None
    with pytest.raises(CorruptIndexError, match="codec"):
        rank(unit(1), [segment], make_plan())
