"""Search on a device against float64, and against the search in bytes on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded_oracle import EPSILON, Collection, Oracle, make_collection, make_segment
from devices import OnDevice, clustered, on_host

LEVELS = 127


def make_query(generator: np.random.Generator, nq: int, dim: int, scale: float = 1.0) -> Any:
    query = generator.normal(size=(nq, dim))
    query /= np.maximum(np.linalg.norm(query, axis=1, keepdims=True), 1e-6)
    return (query * scale).astype(np.float32)


def places(found: Any) -> list[tuple[int, int]]:
    """Segment and pid of each found passage; none twice, nothing to be checked, best first."""
    segments, pids, scores, unchecked = found
    assert (segments.dtype, pids.dtype, scores.dtype) == (np.uint32, np.uint32, np.float32)
    assert unchecked.shape == (0, 3)
    keys = list(zip(-scores.astype(np.float64), segments, pids, strict=True))
    assert keys == sorted(keys)
    result = list(zip(segments.tolist(), pids.tolist(), strict=True))
    assert len(set(result)) == len(result)
    return result


def check(collection: Collection, query: Any, residuals_on: Any = "auto") -> None:
    """Every passage with a token is found, with scores that bytes, and then float32, may have."""
    oracle = Oracle(collection, query, LEVELS)
    expected = [oracle.passages(number) for number in range(len(collection.segments))]
    held = {
        (number, int(pid))
        for number, segment in enumerate(collection.segments)
        for pid in np.flatnonzero(np.diff(segment.offsets))
    }
    device = OnDevice(collection, residuals_on)
    coarse, sharp = device.search(query), device.search(query, n_exact=1000)
    assert set(places(coarse)) == set(places(sharp)) == held
    for number, pid, score in zip(*coarse[:3], strict=True):
        _, clipped, bounds = (values[pid] for values in expected[number])
        assert abs(score - clipped) <= bounds, (number, pid, score, clipped, bounds)
    lengths = np.linalg.norm(query.astype(np.float64), axis=1)
    bound = 3 * (query.shape[1] + 4) * EPSILON * lengths.sum() * 1.3  # vectors of up to 1.3
    for number, pid, score in zip(*sharp[:3], strict=True):
        assert abs(score - expected[number][0][pid]) <= bound


LENGTHS = (7, 1, 0, 63, 64, 65, 3, 150, 0, 16, 17)

# bits, dim, nq, K, code dtype, dense, prefix of the second segment
SHAPES = [
    (2, 128, 32, 3000, np.uint16, False, 2500),
    (4, 128, 33, 300, np.uint16, True, 300),
    (1, 64, 5, 256, np.uint16, True, 1),
    (8, 64, 64, 257, np.uint32, True, 256),
    (2, 1024, 3, 40, np.uint32, False, 33),
    (8, 1024, 2, 9, np.uint16, True, 9),
    (1, 1000, 1, 31, np.uint16, True, 31),
    (4, 48, 512, 70, np.uint16, False, 64),
    (2, 100, 31, 600, np.uint16, True, 599),
    (4, 384, 32, 65, np.uint16, False, 40),
    (4, 3, 33, 30, np.uint32, True, 7),
    (8, 3, 5, 10, np.uint16, True, 10),
    (1, 1, 1, 4, np.uint16, True, 3),
    (2, 1, 5, 3, np.uint16, True, 2),
    (4, 128, 32, 1, np.uint16, True, 1),
    (4, 8, 1023, 50, np.uint16, True, 20),
]


@pytest.mark.parametrize(
    ("bits", "dim", "nq", "n_centroids", "dtype", "dense", "prefix"),
    SHAPES,
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.usefixtures("device")
def test_scores_of_every_shape(
    bits: int, dim: int, nq: int, n_centroids: int, dtype: Any, dense: bool, prefix: int
) -> None:
    generator = np.random.default_rng()
    collection = make_collection(generator, n_centroids, dim, bits)
    for length, known in ((LENGTHS, n_centroids), (LENGTHS[::-1], prefix), ((), n_centroids)):
        segment = make_segment(
            generator, collection, (*length, 0), n_centroids=known, dtype=dtype, dense=dense
        )
        collection.segments.append(segment)
    check(collection, make_query(generator, nq, dim))


@pytest.mark.usefixtures("device")
def test_residuals_in_the_memory_of_the_host() -> None:
    for bits, dim in ((2, 128), (4, 50), (1, 9)):
        generator = np.random.default_rng()
        collection = make_collection(generator, 100, dim, bits)
        collection.segments.append(make_segment(generator, collection, [*LENGTHS, 0]))
        check(collection, make_query(generator, 7, dim), "host")
        device = OnDevice(collection, "host")
        assert [segment.residuals_on_device for segment in device.segments] == [False]


@pytest.mark.usefixtures("device")
def test_a_passage_of_many_tokens() -> None:
    generator = np.random.default_rng()
    collection = make_collection(generator, 50, 16, 2)
    collection.segments.append(make_segment(generator, collection, [8192, 0, 1, 4095]))
    check(collection, make_query(generator, 3, 16))


@pytest.mark.parametrize(
    ("query_scale", "scale"),
    [(1e-30, 1.0), (1.0, 1e-30), (1e15, 1.0), (1.0, 1e15), (1e15, 1e15), (1e-30, 1e-6)],
)
@pytest.mark.usefixtures("device")
def test_tiny_and_huge_magnitudes(query_scale: float, scale: float) -> None:
    generator = np.random.default_rng()
    collection = make_collection(generator, 100, 48, 4, scale=scale)
    collection.segments.append(make_segment(generator, collection, [9] * 20 + [0]))
    check(collection, make_query(generator, 32, 48, query_scale))


@pytest.mark.usefixtures("device")
def test_vectors_and_centroids_without_a_scale() -> None:
    generator = np.random.default_rng()
    flat = make_collection(generator, 40, 24, 2, constant=True)
    flat.segments.append(make_segment(generator, flat, [5] * 30 + [0]))
    check(flat, np.repeat(make_query(generator, 9, 1), 24, axis=1) / 5)
    query = make_query(generator, 33, 24)
    query[[0, 7, 32]] = 0
    check(flat, query)
    same = make_collection(generator, 1, 24, 4)
    same.centroids = np.repeat(same.centroids, 70, axis=0)
    same.segments.append(make_segment(generator, same, [5] * 30 + [0]))
    check(same, query)


@pytest.mark.usefixtures("device")
def test_nothing_but_zeros_scores_zero() -> None:
    generator = np.random.default_rng()
    collection = make_collection(generator, 90, 20, 4)
    collection.segments.append(make_segment(generator, collection, [5] * 50 + [0]))
    found = OnDevice(collection).search(np.zeros((3, 20), dtype=np.float32))
    assert found[1].tolist() == list(range(50))
    assert not found[2].any()


@pytest.mark.parametrize("n_centroids", [3, 900, 6000])
@pytest.mark.parametrize("nprobe", [1, 2, 32, 4096])
@pytest.mark.usefixtures("device")
def test_the_best_centroids_are_probed(n_centroids: int, nprobe: int) -> None:
    """Passage i holds a token of centroid i, so that what is found tells what was probed."""
    generator = np.random.default_rng()
    collection = make_collection(generator, n_centroids, 32, 2)
    collection.segments.append(
        make_segment(generator, collection, [1] * n_centroids + [0], codes=np.arange(n_centroids))
    )
    query = make_query(generator, 3, 32)
    must, may = Oracle(collection, query, LEVELS).probes(nprobe)
    device = OnDevice(collection)
    found = {pid for _, pid in places(device.search(query, nprobe=nprobe))}
    assert set().union(*must) <= found <= set().union(*may)
    alone = {pid for _, pid in places(device.search(query[:1], nprobe=nprobe))}
    assert len(alone) == min(nprobe, n_centroids)


@pytest.mark.parametrize(
    "limits",
    [
        {"nprobe": 8, "n_candidates": 200, "n_rescored": 60, "n_exact": 10},
        {"nprobe": 2, "n_candidates": 40, "n_rescored": 40, "n_exact": 0},
        {"nprobe": 16, "n_candidates": 5000, "n_rescored": 100, "n_exact": 100},
    ],
    ids=str,
)
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.usefixtures("device")
def test_real_like_passages_are_found_as_on_the_processor(bits: int, limits: Any) -> None:
    """Bytes may differ where a sum's last bit does: nine of ten passages, and the best ten."""
    generator = np.random.default_rng(bits)
    collection, queries = clustered(generator, 1200, 512, 64, bits)
    device = OnDevice(collection)
    together = device.search_batch(list(queries), **limits)
    for query, found in zip(queries, together, strict=True):
        expected = on_host(collection, query, **limits)
        theirs, ours = places(expected), places(found)
        assert len(ours) == len(theirs)
        assert len(set(ours) & set(theirs)) >= 0.9 * len(theirs)
        assert len(set(ours[:10]) & set(theirs[:10])) >= 9
        scores = dict(zip(theirs, expected[2].tolist(), strict=True))
        for place, score in zip(ours, found[2].tolist(), strict=True):
            assert place not in scores or score == pytest.approx(scores[place], abs=0.05)


@pytest.mark.usefixtures("device")
def test_parity_with_exact_scores() -> None:
    """With every candidate scored in float32, the best ten are those of float64, ties aside."""
    generator = np.random.default_rng(3)
    collection, queries = clustered(generator, 150, 128, 32, 2)
    n = 150
    device = OnDevice(collection)
    limits = {"nprobe": 128, "n_candidates": n - 1, "n_rescored": n, "n_exact": n}
    agree = 0
    for query in queries:
        exact = Oracle(collection, query, LEVELS).passages(0)[0]
        found = device.search(query, **limits)
        tenth = np.sort(exact)[-10]
        agree += all(exact[pid] >= tenth - 1e-3 for pid in found[1][:10])
    assert agree == len(queries)
