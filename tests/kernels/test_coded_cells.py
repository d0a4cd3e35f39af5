"""Search with centroids in cells: what is not compared is only approximated, never wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded_oracle import Collection, Oracle, make_collection, make_segment

from weft import kernels

DIM, N_CELLS, PER_CELL, STRAY = 16, 300, 230, 0.15
K = N_CELLS * PER_CELL
"""Above 2^16, from where on cells are used."""

LIMITS = {"nprobe": 1000, "n_candidates": 60, "n_rescored": 20, "n_exact": 20}


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def cells() -> tuple[Any, Any]:
    """Centroids around coarse ones, and those."""
    generator = np.random.default_rng(5)
    coarse = unit(generator.normal(size=(N_CELLS, DIM)))
    strays = STRAY * generator.normal(size=(N_CELLS, PER_CELL, DIM))
    return unit((coarse[:, None] + strays).reshape(K, DIM)), coarse


@pytest.fixture(scope="module")
def collection(cells: tuple[Any, Any]) -> Collection:
    """Two segments, the first made before the last fifth of the centroids was appended."""
    generator = np.random.default_rng(6)
    made = make_collection(generator, 4, DIM, 8)
    collection = Collection(cells[0], made.weights, made.norm_range)
    for n_centroids in (K * 4 // 5, K):
        collection.segments.append(
            make_segment(
                generator,
                collection,
                generator.integers(1, 9, 400),
                n_centroids=n_centroids,
                dtype=np.uint32,
                dense=False,
            )
        )
    return collection


def two_levels(collection: Collection, coarse: Any) -> Any:
    offsets = np.arange(N_CELLS + 1, dtype=np.int64) * PER_CELL
    return kernels.search_codec(
        collection.centroids,
        collection.weights,
        collection.norm_range,
        cell_centroids=coarse,
        cell_offsets=offsets,
    )


def queries(collection: Collection, n: int) -> list[Any]:
    """Some of the centroids, so that something is near."""
    generator = np.random.default_rng(7)
    return [
        unit(collection.centroids[generator.integers(0, K, 6)] + 0.05 * generator.normal(size=DIM))
        for _ in range(n)
    ]


def search(codec: Any, collection: Collection, query: Any, **limits: Any) -> Any:
    native = [segment.native() for segment in collection.segments]
    return codec.search(query, native, [None] * len(native), **(LIMITS | limits))


def test_what_is_found_has_its_exact_score(cells: Any, collection: Collection) -> None:
    codec = two_levels(collection, cells[1])
    for query in queries(collection, 5):
        oracle = Oracle(collection, query, 127)
        exact = [oracle.passages(number)[0] for number in range(2)]
        found = search(codec, collection, query)
        assert len(found[1]) == LIMITS["n_rescored"] and set(found[0].tolist()) == {0, 1}
        for number, pid, score in zip(*found[:3], strict=True):
            assert score == pytest.approx(exact[number][pid], abs=1e-4)


def test_nearly_the_same_is_found_as_in_one_level(cells: Any, collection: Collection) -> None:
    codecs = [collection.codec(), two_levels(collection, cells[1])]
    shared = []
    for query in queries(collection, 20):
        one, two = (search(codec, collection, query) for codec in codecs)
        best = [set(zip(f[0][:5].tolist(), f[1][:5].tolist(), strict=True)) for f in (one, two)]
        shared.append(len(best[0] & best[1]) / 5)
    assert np.mean(shared) > 0.9


def test_threads_change_nothing(cells: Any, collection: Collection) -> None:
    codec = two_levels(collection, cells[1])
    for query in queries(collection, 3):
        one, three = (search(codec, collection, query, threads=n) for n in (1, 3))
        for a, b in zip(one, three, strict=True):
            np.testing.assert_array_equal(a, b)


def test_many_probes_look_at_all_centroids(cells: Any, collection: Collection) -> None:
    whole = {"nprobe": K, "n_candidates": 700, "n_rescored": 700, "n_exact": 0}
    for query in queries(collection, 2):
        one = search(collection.codec(), collection, query, **whole)
        two = search(two_levels(collection, cells[1]), collection, query, **whole)
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell_offsets": None}, "cell_offsets"),
        ({"cell_centroids": None}, "cell_offsets"),
        ({"cell_offsets": np.arange(N_CELLS, dtype=np.int64) * PER_CELL}, "cell_offsets"),
        ({"cell_offsets": np.arange(N_CELLS + 1, dtype=np.int64)}, "cell_offsets"),
        ({"cell_offsets": np.arange(N_CELLS + 1)[::-1] * PER_CELL}, "cell_offsets"),
        ({"cell_centroids": np.zeros((N_CELLS, DIM + 1), np.float32)}, "cell_centroids"),
        ({"cell_centroids": np.full((N_CELLS, DIM), np.nan, np.float32)}, "cell_centroids"),
    ],
)
def test_unusable_cells_are_refused(
    cells: Any, collection: Collection, change: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {
        "cell_centroids": cells[1],
        "cell_offsets": np.arange(N_CELLS + 1, dtype=np.int64) * PER_CELL,
    }
    with pytest.raises(ValueError, match=message):
        kernels.search_codec(
            collection.centroids, collection.weights, collection.norm_range, **(given | change)
        )
