"""What candidate generation and centroid interaction choose, held against float64.

Bytes may carry a passage's sum only so far: by that much better than the rest it must be chosen, by
that much worse it must not be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded_oracle import Collection, Oracle, make_collection, make_segment
from devices import OnDevice, clustered

LEVELS = 127
LENGTHS = (7, 1, 0, 63, 64, 65, 3, 33, 0, 16, 17)


def make_query(generator: np.random.Generator, nq: int, dim: int) -> Any:
    query = generator.normal(size=(nq, dim))
    return (query / np.linalg.norm(query, axis=1, keepdims=True)).astype(np.float32)


def maxima(codes: Any, offsets: Any, values: Any, without: float) -> Any:
    """[P, nq] greatest value [K, nq] of each passage's codes; `without` for one that has none."""
    found = np.full((len(offsets) - 1, values.shape[1]), without)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        found[filled] = np.maximum.reduceat(values[codes.astype(np.int64)], offsets[filled])
    return found


def of_all(collection: Collection, values: Any, without: float) -> Any:
    """The same over all segments, one after the other."""
    parts = [maxima(one.codes, one.offsets, values, without) for one in collection.segments]
    return np.concatenate(parts)


def require_chosen(found: set[int], low: Any, high: Any, n: int) -> float:
    """The n best by a number between low and high; the share that leaves no choice."""
    must = {i for i in range(len(low)) if np.count_nonzero(high >= low[i]) <= n}
    may = set(np.flatnonzero(high >= np.sort(low)[max(len(low) - n, 0)]).tolist())
    assert must <= found <= may
    return len(must) / max(len(found), 1)


def found_places(collection: Collection, found: Any) -> set[int]:
    firsts = np.cumsum([0, *(one.n_passages for one in collection.segments)])
    places = (firsts[found[0]] + found[1]).tolist()
    assert len(set(places)) == len(places)
    return set(places)


def strayed(collection: Collection, deviations: Any) -> Any:
    """[P] how far a sum may stray, from standard deviations [K, nq] of what rounding does to it.

    A maximum prefers what rounding raised: one for each query vector, and six of their sum.
    """
    of_passage = of_all(collection, deviations, 0.0)
    return of_passage.sum(axis=1) + 6 * np.sqrt((of_passage**2).sum(axis=1))


def gains(collection: Collection, oracle: Oracle, nprobe: int) -> tuple[Any, Any]:
    """[P] what a passage gains by the probed lists, in steps of a byte: at least, and at most."""
    must, may = oracle.probes(nprobe)
    n = len(oracle.clipped)
    sizes = oracle.clipped / oracle.step
    if nprobe > n:
        worst, off = oracle.lowest / oracle.step, np.zeros(len(oracle.lowest))
    else:
        order = np.argsort(sizes, axis=0)[n - nprobe][None]
        worst = np.take_along_axis(sizes, order, axis=0)[0]
        off = np.take_along_axis(oracle.bounds.variance, order, axis=0)[0] / oracle.step**2
    gain = np.clip(sizes - worst, 0, 254) + 1
    deviations = np.sqrt(oracle.bounds.variance / oracle.step**2 + off)
    stray = strayed(collection, deviations)
    results = []
    for sets, sign in ((must, -1), (may, 1)):
        probed = np.zeros(gain.shape)
        for j, some in enumerate(sets):
            probed[sorted(some), j] = gain[sorted(some), j]
        results.append(of_all(collection, probed, 0.0).sum(axis=1) + sign * stray)
    return np.maximum(results[0], 0), results[1]


def check_candidates(collection: Collection, query: Any, nprobe: int, n: int) -> float:
    limits = {"nprobe": nprobe, "n_candidates": n, "n_rescored": n, "n_exact": 0}
    found = found_places(collection, OnDevice(collection).search(query, **limits))
    low, high = gains(collection, Oracle(collection, query, LEVELS), nprobe)
    assert min(n, np.count_nonzero(low > 0)) <= len(found) <= n
    return require_chosen(found, low, high, n)


def check_interaction(collection: Collection, query: Any, n: int) -> float:
    """Every passage is a candidate."""
    limits = {"nprobe": 1, "n_candidates": 2**20, "n_rescored": n, "n_exact": 0}
    found = found_places(collection, OnDevice(collection).search(query, **limits))
    oracle = Oracle(collection, query, LEVELS)
    above = of_all(collection, (oracle.clipped - oracle.lowest) / oracle.step, 0.0).sum(axis=1)
    stray = strayed(collection, np.sqrt(oracle.bounds.variance) / oracle.step)
    assert len(found) == min(n, len(above))
    return require_chosen(found, above - stray, above + stray, n)


# bits, dim, nq, K, nprobe, dense
SHAPES = [
    (2, 128, 32, 600, 8, True),
    (4, 64, 1, 300, 3, False),
    (1, 1, 2, 4, 2, True),
    (8, 3, 33, 30, 5, True),
    (2, 1024, 5, 40, 4, False),
    (4, 48, 512, 70, 9, True),
    (1, 100, 31, 129, 130, True),
    (2, 33, 64, 257, 257, False),
]


@pytest.mark.parametrize(("bits", "dim", "nq", "n_centroids", "nprobe", "dense"), SHAPES)
@pytest.mark.usefixtures("device")
def test_choices_of_every_shape(
    bits: int, dim: int, nq: int, n_centroids: int, nprobe: int, dense: bool
) -> None:
    generator = np.random.default_rng()
    collection = make_collection(generator, n_centroids, dim, bits)
    for known in (n_centroids, max(1, n_centroids // 2), n_centroids):
        lengths = (*LENGTHS, *generator.integers(0, 40, 20), 0)
        collection.segments.append(
            make_segment(generator, collection, lengths, n_centroids=known, dense=dense)
        )
    # Fewer probes than a prefix has centroids would be other ones there than in the codec.
    whole = Collection(
        collection.centroids, collection.weights, collection.norm_range, collection.segments[::2]
    )
    query = make_query(generator, nq, dim)
    for n in (1, 9, 40):
        check_candidates(whole, query, nprobe, n)
        check_interaction(collection, query, n)


@pytest.mark.usefixtures("device")
def test_most_choices_are_certain() -> None:
    """Or else the bounds would let anything pass."""
    generator = np.random.default_rng(5)
    collection, queries = clustered(generator, 400, 300, 64, 4)
    for query in queries[:3]:
        assert check_candidates(collection, query, 8, 60) > 0.6
        assert check_interaction(collection, query, 60) > 0.7


@pytest.mark.usefixtures("device")
def test_passages_of_no_and_of_many_tokens() -> None:
    generator = np.random.default_rng()
    collection = make_collection(generator, 90, 24, 2)
    lengths = [8192, 0, 1, *[30] * 40, 0, 2000]
    collection.segments.append(make_segment(generator, collection, lengths))
    query = make_query(generator, 7, 24)
    for n in (1, 5, 20):
        check_candidates(collection, query, 6, n)
        check_interaction(collection, query, n)


@pytest.mark.usefixtures("device")
def test_one_list_holds_all_there_is() -> None:
    """A list longer than the blocks that read it take at once, and words that are all the same."""
    generator = np.random.default_rng()
    collection = make_collection(generator, 40, 16, 2)
    codes = np.zeros(9000, dtype=np.int64)
    codes[8999] = 7
    collection.segments.append(make_segment(generator, collection, [1] * 9000, codes=codes))
    limits = {"n_candidates": 300, "n_rescored": 300, "n_exact": 0}
    device = OnDevice(collection)
    found = device.search(collection.centroids[:1].copy(), nprobe=1, **limits)
    assert sorted(found[1].tolist()) == list(range(300))  # in a tie the lower place
    found = device.search(collection.centroids[7:8].copy(), nprobe=1, **limits)
    assert found[1].tolist() == [8999]
