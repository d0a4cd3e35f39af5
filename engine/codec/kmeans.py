"""Spherical k-means over a sample of embeddings, in two levels for large K."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from .cells import EXHAUSTIVE_BELOW, Cells, assign, float_rows, native_rows
from .device import BuildDevice

FloatArray = NDArray[np.float32]
Embeddings = NDArray[np.float32] | NDArray[np.float16]

COARSE_POINTS: Final = 128
"""Sample rows per coarse cell: more do not move the cells."""

TRAINING_PROBES: Final = 4
"""Coarse cells searched per sample row: a few strays do not move a centroid."""

COARSE_ITERATIONS: Final = 8
"""Rounds of the k-means that finds coarse cells."""


def train_centroids(
    sample: Embeddings,
    k: int,
    *,
    iterations: int,
    seed: int,
    threads: int = 0,
    exhaustive_below: int = EXHAUSTIVE_BELOW,
    device: BuildDevice | None = None,
) -> tuple[FloatArray, Cells | None]:
    """Find at most `k` centroids for a sample of embeddings.

    Args:
        sample: float32 or float16 [n, dim], n at least 1, L2-normalised.
        k: centroids wanted; fewer come back where the sample has fewer distinct rows.
        iterations: rounds over the sample, at least 1.
        seed: equal seeds give equal centroids on one machine.
        threads: 0 for all cores.
        exhaustive_below: up to so many centroids rows are compared with all of them.
        device: a GPU, which beyond that compares rows with all of them too, where there are
            enough rows.

    Returns:
        float32 [K, dim], distinct, L2-normalised and then rounded to fp16, in the order of
        their cells; and the cells, None where K is small enough for an exhaustive search.
    """
    if k <= exhaustive_below:
        centroids = spherical_kmeans(sample, k, iterations=iterations, seed=seed, threads=threads)
        return distinct_rows(round_to_half(centroids)), None
    centroids = _split_cells(sample, k, seed=seed, threads=threads)
    for _ in range(iterations):
        centroids = _refine(sample, centroids, seed, threads, device)
    centroids = distinct_rows(round_to_half(centroids))
    if len(centroids) <= exhaustive_below:
        return centroids, None
    return build_cells(centroids, seed=seed, threads=threads)


def spherical_kmeans(
    sample: Embeddings, k: int, *, iterations: int, seed: int, threads: int = 0
) -> FloatArray:
    """Cluster by direction, comparing each row with all centroids.

    Args:
        sample: float32 or float16 [n, dim], n at least 1.
        k: clusters; where it is not below n, the distinct rows are the centroids.
        iterations: rounds, at least 1.
        seed: of the first choice.
        threads: 0 for all cores.

    Returns:
        float32 [K, dim] with K <= k, L2-normalised.
    """
    if k >= len(sample):
        return normalise(distinct_rows(float_rows(sample)))
    chosen = np.random.default_rng(seed).choice(len(sample), k, replace=False)
    centroids = normalise(float_rows(sample[np.sort(chosen)]))
    for _ in range(iterations):
        codes, scores = assign(sample, centroids, None, threads=threads)
        centroids = _moved(sample, codes, scores, k, threads)
    return centroids


def build_cells(centroids: FloatArray, *, seed: int, threads: int = 0) -> tuple[FloatArray, Cells]:
    """Partition centroids into about sqrt(K) coarse cells.

    Args:
        centroids: float32 [K, dim].
        seed: of the coarse k-means.
        threads: 0 for all cores.

    Returns:
        The same centroids reordered so that each cell's are neighbours, and the cells.
    """
    n_cells = max(1, round(len(centroids) ** 0.5))
    coarse = round_to_half(
        spherical_kmeans(
            centroids, n_cells, iterations=COARSE_ITERATIONS, seed=seed, threads=threads
        )
    )
    homes, _ = assign(centroids, coarse, None, threads=threads)
    used, counts = np.unique(homes, return_counts=True)
    order = np.argsort(homes, kind="stable")
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    cells = Cells(np.ascontiguousarray(coarse[used]), offsets)
    return np.ascontiguousarray(centroids[order]), cells


def normalise(rows: FloatArray) -> FloatArray:
    """Scale rows to length 1; a row of zeros stays as it is."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: FloatArray = (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
    return scaled


def round_to_half(rows: FloatArray) -> FloatArray:
    """Round to values that fp16 holds exactly: what is computed with is what is stored."""
    return rows.astype(np.float16).astype(np.float32)


def distinct_rows(rows: FloatArray) -> FloatArray:
    """Drop repeated rows, keeping the first of each and the order."""
    whole = np.ascontiguousarray(rows + np.float32(0))  # no zero is negative: equal bytes
    _, first = np.unique(whole.view(f"V{whole.itemsize * whole.shape[1]}"), return_index=True)
    return np.ascontiguousarray(rows[np.sort(first)])


def _split_cells(sample: Embeddings, k: int, *, seed: int, threads: int) -> FloatArray:
    """First centroids: coarse cells, each split into its proportional share of `k`."""
    n_cells = max(1, round(k**0.5))
    rng = np.random.default_rng(seed)
    n_points = min(len(sample), n_cells * COARSE_POINTS)
    points = sample[np.sort(rng.choice(len(sample), n_points, replace=False))]
    coarse = spherical_kmeans(
        points, n_cells, iterations=COARSE_ITERATIONS, seed=seed, threads=threads
    )
    homes, _ = assign(sample, coarse, None, threads=threads)
    order = np.argsort(homes.astype(np.uint16), kind="stable")  # few cells: a radix sort
    counts = np.bincount(homes, minlength=len(coarse))
    starts = np.concatenate(([0], np.cumsum(counts)))
    parts = []
    for cell, share in enumerate(proportional_shares(counts, k)):
        if share:
            # A random choice of members: the rounds that follow move them all the same.
            members = order[starts[cell] : starts[cell + 1]]
            parts.append(sample[np.sort(rng.choice(members, share, replace=False))])
    return normalise(float_rows(np.concatenate(parts)))


def proportional_shares(counts: NDArray[np.integer], total: int) -> NDArray[np.int64]:
    """Divide `total` among cells in proportion to their counts, none above its count.

    Args:
        counts: integers [C], not all zero.
        total: at most the sum of the counts.

    Returns:
        int64 [C] that sums to `total`: rounded down, the rest by largest remainder.
    """
    exact = counts * (total / counts.sum())
    shares: NDArray[np.int64] = np.minimum(np.floor(exact).astype(np.int64), counts)
    missing = total - int(shares.sum())
    for cell in np.argsort(-(exact - shares), kind="stable"):
        if missing == 0:
            break
        if shares[cell] < counts[cell]:
            shares[cell] += 1
            missing -= 1
    return shares


def _refine(
    sample: Embeddings,
    centroids: FloatArray,
    seed: int,
    threads: int,
    device: BuildDevice | None,
) -> FloatArray:
    """One round: assign, move each centroid to its members' mean, refill the empty ones."""
    found = None if device is None else device.nearest(native_rows(sample), centroids)
    if found is None:
        centroids, cells = build_cells(centroids, seed=seed, threads=threads)
        found = cells.assign(sample, centroids, probes=TRAINING_PROBES, threads=threads)
    codes, scores = found
    return _moved(sample, codes, scores, len(centroids), threads)


def _moved(
    sample: Embeddings, codes: NDArray[np.uint32], scores: FloatArray, k: int, threads: int
) -> FloatArray:
    """Each centroid as its members' mean direction."""
    moved = normalise(kernels.sum_rows(sample, codes, k, threads=threads))
    empty = np.flatnonzero(np.bincount(codes, minlength=k) == 0)
    if len(empty):
        # The rows that are served worst become centroids of their own.
        worst = np.argsort(scores, kind="stable")[: len(empty)]
        moved[empty[: len(worst)]] = sample[worst]
    return moved
