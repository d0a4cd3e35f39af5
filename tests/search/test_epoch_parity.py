"""Search over two epochs, one of them with a prefix, against their definition in NumPy."""

import numpy as np
import pytest
from parity import DIM, SETTINGS, TIE, half, oracle_search, same_top, unit
from plaid_oracle import Coder, NumpyLineage
from stand_ins import coded_segment, flat_segment

from weft import kernels
from weft.engine.codec import Codec
from weft.engine.search.pipeline import rank
from weft.engine.search.plan import make_plan


class Epoch:
    """Passages of one epoch in segments that were coded with ever more centroids."""

    def __init__(self, rng, first, lengths, sizes, bits=2):
        residual = 0.25 * np.sort(rng.normal(size=2 * (1 << bits)))
        centroids = half(unit(rng.normal(size=(lengths[-1], DIM))))
        cutoffs, weights = residual[1:-1:2].astype(np.float32), residual[0::2].astype(np.float32)
        self.coder = Coder(centroids, cutoffs, weights, 0.4, 1.6)
        norms = np.array([0.4, 1.6], dtype=np.float32)
        self.codec = Codec(centroids, cutoffs, weights, norms, bits)
        self.passages, self.segments, self.names = {}, [], []
        made = {}
        for length, size in zip(lengths, sizes, strict=True):
            names = range(first + len(made), first + len(made) + size)
            made |= dict.fromkeys(names, length)
            self.names.append(list(names))
        for name in made:
            self.passages[name] = unit(rng.normal(size=(int(rng.integers(1, 14)), DIM)))
        self.oracle = NumpyLineage(self.coder, self.passages, made)
        for number, (names, length) in enumerate(zip(self.names, lengths, strict=True)):
            self.segments.append(self.segment(names, length, sparse=bool(number % 2)))

    def segment(self, names, length, sparse):
        coded = [self.oracle.coded[name] for name in names]
        codes, buckets, steps = (np.concatenate(parts) for parts in zip(*coded, strict=True))
        assert codes.max() < length
        return coded_segment(
            codes.astype(np.uint16),
            self.coder.pack(buckets),
            steps.astype(np.uint8),
            [len(parts[0]) for parts in coded],
            DIM,
            length,
            sparse,
            codec=self.codec,
        )


class World:
    """Two epochs and a flat segment, their segments taking turns."""

    def __init__(self, seed):
        rng = self.rng = np.random.default_rng(seed)
        self.flat = {name: unit(rng.normal(size=(4, DIM))) for name in range(30)}
        self.epochs = [
            Epoch(rng, 1000, [48, 64, 90], [200, 300, 150]),
            Epoch(rng, 5000, [40], [420]),
        ]
        old, new = self.epochs
        parts = [
            (old.segments[0], old.names[0]),
            (new.segments[0], new.names[0]),
            (flat_segment(list(self.flat.values())), list(self.flat)),
            (old.segments[1], old.names[1]),
            (old.segments[2], old.names[2]),
        ]
        self.segments, self.names = [list(column) for column in zip(*parts, strict=True)]

    def oracle(self, query, plan):
        """Each epoch gives its own shortlist; all that was scored on vectors competes."""
        kept = {
            name: rows.astype(np.float16).astype(np.float64) for name, rows in self.flat.items()
        }
        found = {n: float((query @ r.T).max(axis=1).sum()) for n, r in kept.items()}
        for epoch in self.epochs:
            found |= oracle_search(epoch, query, list(epoch.passages), plan)
        return found

    def found(self, ranking):
        return [
            self.names[s][int(pid)] for s, pid in zip(ranking.segment, ranking.pid, strict=True)
        ]


@pytest.fixture(scope="module", params=range(3))
def world(request):
    return World(request.param)


@pytest.mark.parametrize("target", kernels.targets())
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_each_epoch_has_its_shortlist(world, target, setting):
    plan = make_plan(**setting, group_by="passage", threads=1)
    with kernels.use_target(target):
        for n_tokens in (1, 7, 32):
            query = unit(world.rng.normal(size=(n_tokens, DIM)))
            ranking = rank(query, world.segments, plan)
            expected = world.oracle(query, plan)
            same_top(world.found(ranking), ranking.score.tolist(), expected, plan.k)


def test_exact_scores_every_passage_of_every_epoch(world):
    query = unit(world.rng.normal(size=(5, DIM)))
    plan = make_plan(2000, exact=True, group_by="passage")
    ranking = rank(query, world.segments, plan)
    expected = world.oracle(query, make_plan(2000, ndocs=2000))
    assert len(ranking) == len(expected) == 1100
    for name, score in zip(world.found(ranking), ranking.score.tolist(), strict=True):
        assert abs(expected[name] - score) <= TIE
