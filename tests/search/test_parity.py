"""The four stages against PLAID written from its definitions, on every kernel target."""

import numpy as np
import pytest
from parity import DIM, SETTINGS, half, oracle_search, same_top, unit
from plaid_oracle import Coder, NumpyPlaid
from stand_ins import coded_segment

from weft import kernels
from weft.engine.codec import Codec
from weft.engine.search.pipeline import rank
from weft.engine.search.plan import make_plan


class World:
    """Passages in three segments of one codec, some of them deleted."""

    def __init__(self, kind, bits, seed, n=900):
        rng = self.rng = np.random.default_rng(seed)
        self.topics = unit(rng.normal(size=(12, DIM)))
        self.noise = {"random": None, "clustered": 0.5}[kind]
        self.centroids = half(unit(self.vectors(64)))
        residual = 0.25 * np.sort(rng.normal(size=2 * (1 << bits)))
        self.coder = Coder(
            self.centroids,
            residual[1:-1:2].astype(np.float32),
            residual[0::2].astype(np.float32),
            0.4,
            1.6,
        )
        doclens = rng.integers(1, 14, size=n)
        self.passages = {pid: self.vectors(length) for pid, length in enumerate(doclens)}
        self.oracle = NumpyPlaid(self.coder, self.passages)
        self.alive = rng.random(n) > 0.1
        self.cuts = [0, 200, 201, n]
        self.codec = Codec(
            self.centroids,
            self.coder.cutoffs,
            self.coder.weights,
            np.array([0.4, 1.6], dtype=np.float32),
            bits,
        )
        self.segments = [
            self.segment(*cut, sparse=bool(i % 2))
            for i, cut in enumerate(zip(self.cuts, self.cuts[1:], strict=False))
        ]

    def vectors(self, n):
        rows = self.rng.normal(size=(n, DIM))
        if self.noise is None:
            return unit(rows)
        topics = self.topics[self.rng.integers(len(self.topics), size=n)]
        return unit(topics + self.noise * rows / np.sqrt(DIM))

    def segment(self, low, high, sparse):
        coded = [self.oracle.coded[name] for name in range(low, high)]
        codes, buckets, steps = (np.concatenate(parts) for parts in zip(*coded, strict=True))
        return coded_segment(
            codes.astype(np.uint16),
            self.coder.pack(buckets),
            steps.astype(np.uint8),
            [len(parts[0]) for parts in coded],
            DIM,
            len(self.centroids),
            sparse,
            alive=self.alive[low:high].copy(),
            codec=self.codec,
        )

    def names(self, ranking):
        return [self.cuts[s] + int(p) for s, p in zip(ranking.segment, ranking.pid, strict=True)]

    def masks(self, allowed):
        return [allowed[a:b].copy() for a, b in zip(self.cuts, self.cuts[1:], strict=False)]


@pytest.fixture(scope="module", params=["random", "clustered"])
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=[1, 2, 4, 8])
def world(request, kind):
    return World(kind, request.param, seed=request.param)


@pytest.mark.parametrize("target", kernels.targets())
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_top_100_is_that_of_the_definitions(world, target, setting):
    plan = make_plan(**setting, group_by="passage", threads=1)
    alive = np.flatnonzero(world.alive).tolist()
    assert len(alive) > plan.ndocs
    with kernels.use_target(target):
        for n_tokens in (1, 7, 32):
            query = world.vectors(n_tokens)
            expected = oracle_search(world, query, alive, plan)
            ranking = rank(query, world.segments, plan, None)
            same_top(world.names(ranking), ranking.score.tolist(), expected, plan.k)


@pytest.mark.parametrize("target", kernels.targets())
def test_filters_narrow_the_pool_before_it_is_scored(world, target):
    query = world.vectors(8)
    with kernels.use_target(target):
        for share in (0.02, 0.5, 0.95):
            allowed = np.random.default_rng(9).random(len(world.alive)) < share
            plan = make_plan(
                20, nprobe=3, centroid_score_threshold=0.3, ndocs=200, group_by="passage"
            )
            names = np.flatnonzero(world.alive & allowed).tolist()
            expected = oracle_search(world, query, names, plan)
            ranking = rank(query, world.segments, plan, world.masks(allowed))
            same_top(world.names(ranking), ranking.score.tolist(), expected, plan.k)


@pytest.mark.parametrize("target", kernels.targets())
def test_exact_scores_all_that_live(world, target):
    query = world.vectors(8)
    names = np.flatnonzero(world.alive).tolist()
    with kernels.use_target(target):
        plan = make_plan(1000, exact=True, group_by="passage")
        ranking = rank(query, world.segments, plan, None)
    assert sorted(world.names(ranking)) == names
    same_top(
        world.names(ranking), ranking.score.tolist(), world.oracle.exact(query, names), len(names)
    )


def test_threads_and_repetition_change_nothing(world):
    query = world.vectors(16)
    results = [
        rank(query, world.segments, make_plan(50, ndocs=300, threads=threads), None)
        for threads in (1, 2, 2)
    ]
    for other in results[1:]:
        assert other.pid.tolist() == results[0].pid.tolist()
        assert other.segment.tolist() == results[0].segment.tolist()
        assert other.score.tobytes() == results[0].score.tobytes()
