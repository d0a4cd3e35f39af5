"""What groups embeddings, on every target: two-level assignment and sums by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft import kernels
from weft.kernels import reference

TARGETS = kernels.targets()
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
dims = st.one_of(st.integers(1, 70), st.sampled_from([96, 128, 384]))


def unit_rows(generator: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = generator.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cut(generator: np.random.Generator, n_centroids: int, n_cells: int) -> np.ndarray:
    inner = generator.choice(np.arange(1, n_centroids), n_cells - 1, replace=False)
    return np.array([0, *np.sort(inner), n_centroids], dtype=np.int64)


def hidden(left: np.ndarray, right: np.ndarray, levels: int) -> np.ndarray:
    """What rounding to `levels` steps may add to or take from each product [n, m] of rows."""
    dim, right = left.shape[1], right.astype(np.float64)
    step = np.abs(left).max(axis=1) / levels / 2
    other = np.abs(right).max(axis=1) / 127 / 2
    sizes = np.abs(left).sum(axis=1)[:, None] + step[:, None] * dim
    key = 127 * levels * dim / 2**20  # a unit of the keys, in products of steps
    in_keys = 4 * step[:, None] * other.max() * (key + 1)
    return step[:, None] * np.abs(right).sum(axis=1) + other * sizes + in_keys


@pytest.mark.parametrize("target", TARGETS)
@few
@given(
    seed=seeds,
    n=st.integers(0, 200),
    n_centroids=st.integers(1, 90),
    dim=dims,
    half=st.booleans(),
)
def test_all_cells_hold_the_best_but_for_rounding(
    target: str, seed: int, n: int, n_centroids: int, dim: int, half: bool
) -> None:
    generator = np.random.default_rng(seed)
    embeddings = unit_rows(generator, n, dim).astype("f2" if half else "f4")
    centroids = unit_rows(generator, n_centroids, dim)
    offsets = cut(generator, n_centroids, int(generator.integers(1, n_centroids + 1)))
    cells = unit_rows(generator, len(offsets) - 1, dim)
    with kernels.use_target(target):
        codes, scores = kernels.assign_cells(embeddings, centroids, cells, offsets, probes=90)
    exact = embeddings.astype(np.float64) @ centroids.astype(np.float64).T
    found = exact[np.arange(n), codes]
    assert codes.dtype == np.uint32
    assert np.abs(scores - found).max(initial=0) <= (dim + 2) * np.finfo(np.float32).eps
    doubt = hidden(embeddings.astype(np.float64), centroids, 63).max(axis=1)
    assert (exact.max(axis=1) - found <= 2 * doubt).all()


@pytest.mark.parametrize("dim", [1, 3, 48, 128, 384])
def test_it_chooses_what_float32_chooses(target: str, dim: int) -> None:
    """Of clustered embeddings: nearly always, whatever the target rounds to."""
    generator = np.random.default_rng(dim)
    cells = unit_rows(generator, 9, dim)
    centroids = np.repeat(cells, 30, axis=0) + unit_rows(generator, 270, dim) / 2
    offsets = np.arange(0, 271, 30, dtype=np.int64)
    near = generator.integers(0, 270, 700)
    embeddings = centroids[near] + unit_rows(generator, 700, dim) / 3
    given_arrays = embeddings.astype(np.float32), centroids.astype(np.float32), cells, offsets
    codes, scores = kernels.assign_cells(*given_arrays, probes=4)
    expected, best = reference.assign_cells(*given_arrays, probes=4)
    assert (codes == expected).mean() >= 0.97
    assert np.quantile(best - scores, 0.97) <= 1e-5
    assert (best - scores).mean() <= 1e-3


def test_integers_are_exact_and_ties_go_to_the_lower_number(target: str) -> None:
    generator = np.random.default_rng(5)
    embeddings = generator.integers(-3, 4, (300, 12)).astype(np.float32)
    centroids = np.repeat(generator.integers(-3, 4, (40, 12)), 2, axis=0).astype(np.float32)
    offsets = np.array([0, 30, 31, 80], dtype=np.int64)
    cells = generator.integers(-3, 4, (3, 12)).astype(np.float32)
    codes, scores = kernels.assign_cells(embeddings, centroids, cells, offsets, probes=3)
    exact = embeddings @ centroids.T
    assert np.array_equal(scores, exact[np.arange(300), codes])
    doubles = np.flatnonzero(codes % 2)
    assert (codes[doubles] == 31).all() or not len(doubles)  # its twin is in the cell before


def test_more_rows_in_a_cell_than_keys_tell_apart(target: str) -> None:
    generator = np.random.default_rng(3)
    centroids = unit_rows(generator, 2600, 24)
    chosen = generator.integers(0, 2600, 90)
    one = np.array([0, 2600], dtype=np.int64)
    codes, _ = kernels.assign_cells(centroids[chosen], centroids, centroids[:1], one, probes=1)
    assert np.array_equal(codes, chosen)
    each = np.arange(2601, dtype=np.int64)
    codes, _ = kernels.assign_cells(centroids[chosen], centroids, centroids, each, probes=3)
    assert np.array_equal(codes, chosen)


def test_neighbours_and_threads_change_nothing(target: str) -> None:
    generator = np.random.default_rng(9)
    embeddings = unit_rows(generator, 3001, 20).astype(np.float16)
    centroids, cells = unit_rows(generator, 300, 20), unit_rows(generator, 17, 20)
    offsets = cut(generator, 300, 17)
    whole = kernels.assign_cells(embeddings, centroids, cells, offsets, probes=3, threads=1)
    for given_rows, threads in [(slice(0, 3001), 4), (slice(7, 40), 1), (slice(2999, 3001), 2)]:
        part = kernels.assign_cells(
            embeddings[given_rows], centroids, cells, offsets, probes=3, threads=threads
        )
        assert all(np.array_equal(a[given_rows], b) for a, b in zip(whole, part, strict=True))
    wide = embeddings.astype(np.float32)
    again = kernels.assign_cells(wide, centroids, cells, offsets, probes=3)
    assert np.array_equal(whole[0], again[0])


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-30, 1e15])
def test_any_length_of_row(target: str, scale: float) -> None:
    """Rows of zeros, of subnormal numbers and of large ones are assigned like others."""
    generator = np.random.default_rng(2)
    embeddings = (unit_rows(generator, 50, 16) * scale).astype(np.float32)
    centroids = unit_rows(generator, 30, 16)
    offsets = cut(generator, 30, 4)
    codes, scores = kernels.assign_cells(embeddings, centroids, centroids[:4], offsets, probes=4)
    exact = embeddings.astype(np.float64) @ centroids.T
    lost = exact.max(axis=1) - exact[np.arange(50), codes]
    assert (lost <= 0.05 * scale + 1e-40).all() or scale < 1e-38
    assert np.isfinite(scores).all()
    zeros = np.zeros_like(centroids)
    codes, scores = kernels.assign_cells(embeddings, zeros, zeros[:4], offsets, probes=4)
    assert not codes.any() and not scores.any()


def test_overflow_is_refused(target: str) -> None:
    large = np.full((3, 8), 1e25, dtype=np.float32)
    offsets = np.array([0, 3], dtype=np.int64)
    for module in (kernels, reference):
        with pytest.raises(ValueError, match=r"^centroids:"):
            module.assign_cells(large, large, large[:1], offsets, probes=1)


@pytest.mark.parametrize("target", TARGETS)
@few
@given(seed=seeds, n=st.integers(0, 300), n_groups=st.integers(1, 40), dim=dims, half=st.booleans())
def test_sums_by_group(target: str, seed: int, n: int, n_groups: int, dim: int, half: bool) -> None:
    generator = np.random.default_rng(seed)
    rows: Any = generator.normal(size=(n, dim)).astype("f2" if half else "f4")
    groups = generator.integers(0, n_groups, n).astype("u2" if half else "u4")
    members = (np.arange(n_groups)[:, None] == groups).astype(np.float64)
    with kernels.use_target(target):
        sums = [kernels.sum_rows(rows, groups, n_groups, threads=t) for t in (1, 3)]
    assert np.allclose(sums[0], members @ rows.astype(np.float64), rtol=1e-6, atol=1e-6)
    assert np.array_equal(*sums)
    assert np.array_equal(sums[0], reference.sum_rows(rows, groups, n_groups))


@pytest.mark.parametrize("target", TARGETS)
@few
@given(seed=seeds, n=st.integers(0, 900), dim=dims, half=st.booleans(), threads=st.integers(1, 3))
def test_squared_lengths(
    target: str, seed: int, n: int, dim: int, half: bool, threads: int
) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype("f2" if half else "f4")
    with kernels.use_target(target):
        lengths = kernels.squared_lengths(rows, threads=threads)
    exact = (rows.astype(np.float64) ** 2).sum(axis=1)
    assert lengths.dtype == np.float32
    assert np.allclose(lengths, exact, rtol=(dim + 2) * np.finfo(np.float32).eps, atol=0)
    assert np.allclose(lengths, reference.squared_lengths(rows), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", ["f2", "f4"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 15, 16, 36])
def test_a_row_that_is_not_finite_has_no_finite_length(
    target: str, dtype: str, bad: float, place: int
) -> None:
    rows = np.ones((5, 37), dtype=dtype)
    rows[3, place] = bad
    finite = np.isfinite(kernels.squared_lengths(rows))
    assert finite.tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("module", [kernels, reference], ids=["native", "reference"])
def test_prepared_centroids_are_assigned_alike(module: Any, target: str) -> None:
    generator = np.random.default_rng(4)
    centroids, cells = unit_rows(generator, 300, 20), unit_rows(generator, 17, 20)
    offsets = cut(generator, 300, 17)
    make = kernels.cell_index if module is kernels else reference.CellIndex
    index = make(centroids, cells, offsets)
    for n, dtype in [(900, "f2"), (1, "f4"), (0, "f4")]:
        rows = unit_rows(generator, n, 20).astype(dtype)
        expected = module.assign_cells(rows, centroids, cells, offsets, probes=3)
        for found in (index.assign(rows, probes=3), index.assign(rows, probes=3, threads=2)):
            assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_prepared_centroids_follow_a_change_of_target() -> None:
    generator = np.random.default_rng(6)
    centroids, cells = unit_rows(generator, 90, 33), unit_rows(generator, 9, 33)
    rows, offsets = unit_rows(generator, 500, 33), cut(generator, 90, 9)
    index = kernels.cell_index(centroids, cells, offsets)
    for target in TARGETS:
        with kernels.use_target(target):
            expected = kernels.assign_cells(rows, centroids, cells, offsets, probes=2)
            found = index.assign(rows, probes=2)
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("make", [kernels.cell_index, reference.CellIndex])
def test_what_cannot_be_prepared_is_refused(make: Any) -> None:
    generator = np.random.default_rng(8)
    centroids, cells = unit_rows(generator, 6, 5), unit_rows(generator, 2, 5)
    offsets = np.array([0, 2, 6], dtype=np.int64)
    index = make(centroids, cells, offsets)
    for wrong in ([0, 2, 5], [0, 0, 6], [1, 2, 6]):
        with pytest.raises(ValueError, match=r"^cell_offsets:"):
            make(centroids, cells, np.array(wrong, dtype=np.int64))
    with pytest.raises(ValueError, match=r"^centroids:"):
        make(centroids * np.float32(np.nan), cells, offsets)
    with pytest.raises(TypeError, match=r"^cell_centroids:"):
        make(centroids, cells.astype(np.float16), offsets)
    with pytest.raises(ValueError):
        index.assign(unit_rows(generator, 3, 4), probes=1)
    with pytest.raises(ValueError, match=r"^probes:"):
        index.assign(unit_rows(generator, 3, 5), probes=0)
