"""A codec with a rotation: queries come as they are, centroids and residuals stand rotated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded_oracle import QUERY_LEVELS, Collection, Oracle, make_collection, make_segment
from rotations import turned

from weft import kernels

K, P = 60, 80

FLOAT_ERROR = 1e-5
"""What float32 may lose of a unit vector's score, in its rotation and in MaxSim."""


@pytest.fixture(params=kernels.targets())
def target(request: Any) -> Any:
    with kernels.use_target(request.param):
        yield request.param


def made(generator: np.random.Generator, dim: int) -> Collection:
    collection = make_collection(generator, K, dim, 4)
    collection.segments.append(make_segment(generator, collection, generator.integers(1, 9, P)))
    return collection


def queries(generator: np.random.Generator, n: int, dim: int) -> Any:
    rows = generator.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def search(collection: Collection, query: Any, rotation: Any, **limits: Any) -> Any:
    codec = kernels.search_codec(
        collection.centroids, collection.weights, collection.norm_range, rotation=rotation
    )
    assert codec is not None
    limits = {"nprobe": K, "n_candidates": P, "n_rescored": P, "n_exact": 0} | limits
    return codec.search(query, [collection.segments[0].native()], [None], **limits)


@pytest.mark.parametrize(
    ("size", "dim", "n_queries"), [(1, 5, 2), (8, 24, 3), (13, 26, 1), (17, 17, 33), (64, 128, 32)]
)
def test_scores_are_those_of_the_rotated_query(
    target: str, size: int, dim: int, n_queries: int
) -> None:
    generator = np.random.default_rng(size)
    collection = made(generator, dim)
    rotation = np.linalg.qr(generator.normal(size=(size, size)))[0].astype(np.float32)
    query = queries(generator, n_queries, dim)
    oracle = Oracle(collection, turned(rotation, query), QUERY_LEVELS[target])
    exact, clipped, bounds = oracle.passages(0)

    _, pids, scores, _ = search(collection, query, rotation, n_exact=P)
    np.testing.assert_allclose(scores, exact[pids], atol=n_queries * FLOAT_ERROR)
    assert sorted(pids.tolist()) == list(range(P))
    _, pids, scores, _ = search(collection, query, rotation)
    off = np.abs(scores - clipped[pids])
    assert (off <= bounds[pids] + n_queries * FLOAT_ERROR).all()


def test_queries_are_left_alone_without_one(target: str) -> None:
    """As with the rotation that turns nothing."""
    generator = np.random.default_rng(1)
    collection, query = made(generator, 24), queries(generator, 4, 24)
    # In blocks of the whole, components keep their order.
    unit = np.eye(24, dtype=np.float32)
    for a, b in zip(search(collection, query, unit), search(collection, query, None), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_rotation_is_copied(target: str, threads: int) -> None:
    generator = np.random.default_rng(2)
    collection, query = made(generator, 16), queries(generator, 4, 16)
    rotation = np.linalg.qr(generator.normal(size=(8, 8)))[0].astype(np.float32)
    before = search(collection, query, rotation, threads=threads)
    codec = kernels.search_codec(
        collection.centroids, collection.weights, collection.norm_range, rotation=rotation
    )
    assert codec is not None
    rotation[:] = 0
    limits = {"nprobe": K, "n_candidates": P, "n_rescored": P, "n_exact": 0}
    after = codec.search(query, [collection.segments[0].native()], [None], **limits)
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    "wrong",
    [
        np.ones((7, 7), np.float32),
        np.ones((0, 0), np.float32),
        np.ones((8, 16), np.float32),
        np.ones((32, 32), np.float32),
        np.full((8, 8), np.nan, np.float32),
        np.full((8, 8), np.inf, np.float32),
    ],
)
def test_what_is_no_rotation_of_these(wrong: Any) -> None:
    collection = made(np.random.default_rng(3), 16)
    with pytest.raises(ValueError, match=r"^rotation:"):
        kernels.search_codec(
            collection.centroids, collection.weights, collection.norm_range, rotation=wrong
        )


@pytest.mark.parametrize("wrong", [np.ones((8, 8)), [[1.0]], "8"])
def test_what_is_no_array(wrong: Any) -> None:
    collection = made(np.random.default_rng(4), 16)
    with pytest.raises(TypeError, match=r"^rotation:"):
        kernels.search_codec(
            collection.centroids, collection.weights, collection.norm_range, rotation=wrong
        )


def test_a_query_that_leaves_float32_when_it_is_rotated(target: str) -> None:
    collection = made(np.random.default_rng(5), 16)
    rotation = np.full((8, 8), 1, np.float32)
    with pytest.raises(ValueError, match=r"^query:"):
        search(collection, np.full((2, 16), 3e38, np.float32), rotation)
