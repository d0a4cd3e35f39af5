"""Search in bytes against float64: scores within what rounding allows, and nothing left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded_oracle import (
    EPSILON,
    QUERY_LEVELS,
    Collection,
    Oracle,
    Segment,
    make_collection,
    make_segment,
)

from weft import kernels

LENGTHS = (7, 1, 0, 95, 96, 97, 3, 300, 12, 0, 24, 25)


def make_query(generator: np.random.Generator, nq: int, dim: int, scale: float = 1.0) -> Any:
    query = generator.normal(size=(nq, dim))
    query /= np.maximum(np.linalg.norm(query, axis=1, keepdims=True), 1e-6)
    return (query * scale).astype(np.float32)


def places(collection: Collection, found: Any) -> list[tuple[int, int]]:
    """Segment and pid of each found passage; none twice, nothing to be checked."""
    segments, pids, scores, unchecked = found
    assert (segments.dtype, pids.dtype, scores.dtype) == (np.uint32, np.uint32, np.float32)
    assert unchecked.shape == (0, 3)
    result = list(zip(segments.tolist(), pids.tolist(), strict=True))
    assert len(set(result)) == len(result) == len(scores)
    return result


def in_order(found: Any) -> bool:
    """Best first, ties by segment and pid."""
    keys = list(zip(-found[2].astype(np.float64), found[0], found[1], strict=True))
    return keys == sorted(keys)


def check(collection: Collection, query: Any, target: str) -> None:
    """Every passage with a token is found, with scores that bytes, and then float32, may have."""
    oracle = Oracle(collection, query, QUERY_LEVELS[target])
    expected = [oracle.passages(number) for number in range(len(collection.segments))]
    held = {
        (number, int(pid))
        for number, segment in enumerate(collection.segments)
        for pid in np.flatnonzero(np.diff(segment.offsets))
    }
    coarse, sharp = collection.search(query), collection.search(query, n_exact=1000)
    assert set(places(collection, coarse)) == set(places(collection, sharp)) == held
    assert in_order(coarse) and in_order(sharp)
    for number, pid, score in zip(*coarse[:3], strict=True):
        _, clipped, bounds = (values[pid] for values in expected[number])
        assert abs(score - clipped) <= bounds, (number, pid, score, clipped, bounds)
    lengths = np.linalg.norm(query.astype(np.float64), axis=1)
    bound = 3 * (query.shape[1] + 4) * EPSILON * lengths.sum() * 1.3  # vectors of up to 1.3
    for number, pid, score in zip(*sharp[:3], strict=True):
        assert abs(score - expected[number][0][pid]) <= bound


# bits, dim, nq, K, code dtype, dense, prefix of the second segment
SHAPES = [
    (4, 128, 32, 5000, np.uint16, False, 4000),
    (4, 128, 33, 300, np.uint16, True, 300),
    (2, 128, 31, 700, np.uint32, False, 90),
    (1, 64, 5, 256, np.uint16, True, 1),
    (8, 64, 64, 257, np.uint32, True, 256),
    (4, 96, 200, 100, np.uint16, False, 99),
    (2, 100, 32, 600, np.uint16, True, 599),
    (1, 100, 33, 64, np.uint16, False, 64),
    (8, 100, 1, 1000, np.uint16, False, 513),
    (4, 384, 32, 512, np.uint32, True, 511),
    (2, 384, 64, 513, np.uint16, False, 40),
    (1, 384, 1, 50, np.uint16, True, 50),
    (4, 16, 1023, 200, np.uint16, True, 100),
    (2, 6, 31, 50, np.uint16, False, 50),
    (4, 3, 33, 30, np.uint32, True, 7),
    (8, 3, 5, 10, np.uint16, True, 10),
    (1, 1, 1, 4, np.uint16, True, 3),
    (4, 1, 32, 2, np.uint16, False, 1),
    (2, 1, 5, 3, np.uint16, True, 2),
    (4, 128, 32, 1, np.uint16, True, 1),
    (2, 16, 5, 1, np.uint16, False, 1),
    (4, 64, 1, 3, np.uint16, True, 3),
]


@pytest.mark.parametrize(
    ("bits", "dim", "nq", "n_centroids", "dtype", "dense", "prefix"),
    SHAPES,
    ids=lambda value: getattr(value, "__name__", None),
)
def test_scores_of_every_shape(
    target: str,
    bits: int,
    dim: int,
    nq: int,
    n_centroids: int,
    dtype: Any,
    dense: bool,
    prefix: int,
) -> None:
    generator = np.random.default_rng(bits * 1000 + dim + nq)
    collection = make_collection(generator, n_centroids, dim, bits)
    for length, known in ((LENGTHS, n_centroids), (LENGTHS[::-1], prefix), ((5, 40), n_centroids)):
        segment = make_segment(
            generator, collection, length, n_centroids=known, dtype=dtype, dense=dense
        )
        collection.segments.append(segment)
    query = make_query(generator, nq, dim)
    check(collection, query, target)


@pytest.mark.parametrize(
    ("query_scale", "scale"),
    [(1e-30, 1.0), (1.0, 1e-30), (1e15, 1.0), (1.0, 1e15), (1e15, 1e15), (1e-30, 1e-6)],
)
def test_tiny_and_huge_magnitudes(target: str, query_scale: float, scale: float) -> None:
    generator = np.random.default_rng(1)
    collection = make_collection(generator, 200, 48, 4, scale=scale)
    collection.segments.append(make_segment(generator, collection, [9] * 60 + [0]))
    query = make_query(generator, 32, 48, query_scale)
    check(collection, query, target)


def test_constant_vectors(target: str) -> None:
    """A centroid whose components are all the same has no scale."""
    generator = np.random.default_rng(2)
    collection = make_collection(generator, 40, 24, 2, constant=True)
    collection.segments.append(make_segment(generator, collection, [5] * 50 + [0]))
    query = np.repeat(make_query(generator, 9, 1), 24, axis=1) / 5
    check(collection, query, target)


def test_centroids_that_are_all_the_same(target: str) -> None:
    generator = np.random.default_rng(3)
    collection = make_collection(generator, 1, 24, 4)
    collection.centroids = np.repeat(collection.centroids, 70, axis=0)
    collection.segments.append(make_segment(generator, collection, [5] * 50 + [0]))
    query = make_query(generator, 9, 24)
    check(collection, query, target)


def test_zero_query_vectors(target: str) -> None:
    """They add nothing to a score, and where there is nothing else all passages score zero."""
    generator = np.random.default_rng(4)
    collection = make_collection(generator, 90, 20, 4)
    collection.segments.append(make_segment(generator, collection, [5] * 50 + [0]))
    query = make_query(generator, 33, 20)
    query[[0, 7, 32]] = 0
    check(collection, query, target)
    found = collection.search(np.zeros((3, 20), dtype=np.float32))
    assert found[1].tolist() == list(range(50))
    assert not found[2].any()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("sign", [1, -1])
def test_bytes_at_their_extremes(target: str, bits: int, sign: int) -> None:
    """Sums of two products must fit 16 bits on AVX2: bytes of 255 meet the greatest levels."""
    dim, nq = 128, 32
    rows = np.ones((8, dim), dtype=np.float32)
    rows[:, 0] = -1  # so that all others are byte 255
    rows[4:] *= -1
    weights = np.linspace(-1, 1, 1 << bits).astype(np.float32)
    collection = Collection(rows, weights, (0.02, 0.5))
    segment = make_segment(
        np.random.default_rng(5), collection, [3] * 8 + [0], codes=np.arange(24) % 8
    )
    segment.buckets[:] = np.where(np.arange(24)[:, None] % 2, 0, (1 << bits) - 1)
    segment.residuals[:] = np.where(np.arange(24)[:, None] % 2, 0, 255)
    collection.segments.append(segment)
    query = np.full((nq, dim), sign, dtype=np.float32)
    query[1::2] *= -1
    query[2, ::2] *= -1
    check(collection, query, target)
    assert found_by_hand(collection, query) == pytest.approx(
        collection.search(query, n_exact=1000)[2][0], rel=1e-5
    )


def found_by_hand(collection: Collection, query: Any) -> float:
    """The best score of all, by loops."""
    segment, best = collection.segments[0], -np.inf
    low, high = collection.norm_range
    for pid in range(segment.n_passages - 1):
        total = 0.0
        for vector in query.astype(np.float64):
            scores = []
            for t in range(segment.offsets[pid], segment.offsets[pid + 1]):
                row = collection.centroids[segment.codes[t]].astype(np.float64)
                row = row + collection.weights[segment.buckets[t]]
                scores.append(row @ vector * (low + segment.inverse_norms[t] * (high - low) / 255))
            total += max(scores)
        best = max(best, total)
    return best


def one_token_each(collection: Collection) -> Segment:
    """Passage i holds a token of centroid i, so that what is found tells what was probed."""
    n, generator = len(collection.centroids), np.random.default_rng(6)
    return make_segment(generator, collection, [1] * n + [0], codes=np.arange(n))


@pytest.mark.parametrize("n_centroids", [3, 40, 900, 5000])
@pytest.mark.parametrize("nprobe", [1, 2, 32, 4096])
def test_the_best_centroids_are_probed(target: str, n_centroids: int, nprobe: int) -> None:
    generator = np.random.default_rng(nprobe)
    collection = make_collection(generator, n_centroids, 32, 2)
    collection.segments.append(one_token_each(collection))
    query = make_query(generator, 3, 32)
    oracle = Oracle(collection, query, QUERY_LEVELS[target])
    must, may = oracle.probes(nprobe)
    for j in range(3):
        alone = Oracle(collection, query[j : j + 1], QUERY_LEVELS[target])
        (must_alone,), (may_alone,) = alone.probes(nprobe)
        found = collection.search(query[j : j + 1], nprobe=nprobe)
        probed = {pid for _, pid in places(collection, found)}
        assert len(probed) == min(nprobe, n_centroids)
        assert must_alone <= probed <= may_alone
    together = {pid for _, pid in places(collection, collection.search(query, nprobe=nprobe))}
    assert set().union(*must) <= together <= set().union(*may)


def test_candidates_are_the_union_of_the_probed_lists(target: str) -> None:
    generator = np.random.default_rng(8)
    collection = make_collection(generator, 400, 32, 4)
    for prefix in (400, 150):
        segment = make_segment(
            generator, collection, [2] * 300 + [0], n_centroids=prefix, dense=False
        )
        collection.segments.append(segment)
    query = make_query(generator, 4, 32)
    for nprobe in (1, 5, 40):
        found = places(collection, collection.search(query, nprobe=nprobe))
        for number, segment in enumerate(collection.segments):
            known = Collection(
                collection.centroids[: segment.n_centroids], collection.weights, (0.4, 2.2)
            )
            # Probes of the codec's first centroids: its steps are the whole codec's.
            oracle = Oracle(collection, query, QUERY_LEVELS[target])
            oracle.clipped = oracle.clipped[: len(known.centroids)]
            oracle.scores = oracle.scores[: len(known.centroids)]
            oracle.bounds.worst = oracle.bounds.worst[: len(known.centroids)]
            oracle.bounds.variance = oracle.bounds.variance[: len(known.centroids)]
            must, may = oracle.probes(nprobe)
            pids = {pid for found_in, pid in found if found_in == number}
            assert segment.passages_of(set().union(*must)) <= pids
            assert pids <= segment.passages_of(set().union(*may))


@pytest.mark.skipif("amx" not in kernels.targets(), reason="this machine has no AMX")
@pytest.mark.parametrize("dim", [1, 64, 68, 96, 128, 130, 200, 384])
def test_tiles_compute_the_bits_that_vectors_do(dim: int) -> None:
    generator = np.random.default_rng(dim)
    collection = make_collection(generator, 700, dim, 4)
    lengths = (1, 15, 16, 17, 24, 31, 32, 33, 48, 79, 0, 300)
    collection.segments.append(make_segment(generator, collection, lengths))
    query = make_query(generator, 33, dim)
    found = []
    for name in ("avx512", "amx"):
        with kernels.use_target(name):
            found.append(collection.search(query))
    for vectors, tiles in zip(*found, strict=True):
        np.testing.assert_array_equal(vectors, tiles)
