"""Spherical k-means over a sample of embeddings: through faiss, in two levels for large K."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .cells import EXHAUSTIVE_BELOW, Cells, assign, chunks

FloatArray = NDArray[np.float32]

COARSE_POINTS: Final = 128
"""Sample rows per coarse cell: more do not move the cells."""

TRAINING_PROBES: Final = 4
"""Coarse cells searched per sample row: a few strays do not move a centroid."""

COARSE_ITERATIONS: Final = 8
"""Rounds of the k-means that finds coarse cells."""


def train_centroids(
    sample: FloatArray, k: int, *, iterations: int, seed: int, threads: int = 0
) -> tuple[FloatArray, Cells | None]:
    """Find at most `k` centroids for a sample of embeddings.

    Args:
        sample: float32 [n, dim], n at least 1, L2-normalised.
        k: centroids wanted; fewer come back where the sample has fewer distinct rows.
        iterations: rounds over the sample, at least 1.
        seed: equal seeds give equal centroids on one machine.
        threads: 0 for all cores.

    Returns:
        float32 [K, dim], distinct, L2-normalised and then rounded to fp16, in the order of
        their cells; and the cells, None where K is small enough for an exhaustive search.
    """
    if k <= EXHAUSTIVE_BELOW:
        centroids = spherical_kmeans(sample, k, iterations=iterations, seed=seed, threads=threads)
        return distinct_rows(round_to_half(centroids)), None
    centroids = _split_cells(sample, k, seed=seed, threads=threads)
    for _ in range(iterations):
        centroids, cells = build_cells(centroids, seed=seed, threads=threads)
        centroids = _refine(sample, centroids, cells, threads=threads)
    centroids = distinct_rows(round_to_half(centroids))
    if len(centroids) <= EXHAUSTIVE_BELOW:
        return centroids, None
    return build_cells(centroids, seed=seed, threads=threads)


def spherical_kmeans(
    sample: FloatArray, k: int, *, iterations: int, seed: int, threads: int = 0
) -> FloatArray:
    """Cluster by direction, comparing each row with all centroids.

    Args:
        sample: float32 [n, dim], n at least 1.
        k: clusters; where it is not below n, the distinct rows are the centroids.
        iterations: rounds, at least 1.
        seed: of the first choice.
        threads: 0 for all cores.

    Returns:
        float32 [K, dim] with K <= k, L2-normalised.
    """
    if k >= len(sample):
        return normalise(distinct_rows(sample))
    import faiss

    model = faiss.Kmeans(
        sample.shape[1],
        k,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    with _faiss_threads(threads):
        model.train(np.ascontiguousarray(sample))
    return normalise(np.asarray(model.centroids, dtype=np.float32))


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
    _, first = np.unique(rows, axis=0, return_index=True)
    return np.ascontiguousarray(rows[np.sort(first)])


def _split_cells(sample: FloatArray, k: int, *, seed: int, threads: int) -> FloatArray:
    """First centroids: coarse cells, each split into its proportional share of `k`."""
    n_cells = max(1, round(k**0.5))
    rng = np.random.default_rng(seed)
    n_points = min(len(sample), n_cells * COARSE_POINTS)
    points = sample[np.sort(rng.choice(len(sample), n_points, replace=False))]
    coarse = spherical_kmeans(
        points, n_cells, iterations=COARSE_ITERATIONS, seed=seed, threads=threads
    )
    homes, _ = assign(sample, coarse, None, threads=threads)
    order = np.argsort(homes, kind="stable")
    counts = np.bincount(homes, minlength=len(coarse))
    starts = np.concatenate(([0], np.cumsum(counts)))
    parts = []
    for cell, share in enumerate(proportional_shares(counts, k)):
        if share:
            # A random choice of members: the rounds that follow move them all the same.
            members = order[starts[cell] : starts[cell + 1]]
            parts.append(sample[np.sort(rng.choice(members, share, replace=False))])
    return normalise(np.concatenate(parts))


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


def _refine(sample: FloatArray, centroids: FloatArray, cells: Cells, *, threads: int) -> FloatArray:
    """One round: assign, move each centroid to its members' mean, refill the empty ones."""
    codes, scores = cells.assign(sample, centroids, probes=TRAINING_PROBES, threads=threads)
    sums = np.zeros(centroids.shape, dtype=np.float64)
    for part in chunks(*sample.shape):
        _add_rows(sums, sample[part], codes[part])
    counts = np.bincount(codes, minlength=len(centroids))
    moved = normalise(sums.astype(np.float32))
    empty = np.flatnonzero(counts == 0)
    # The rows that are served worst become centroids of their own.
    worst = np.argsort(scores, kind="stable")[: len(empty)]
    moved[empty[: len(worst)]] = sample[worst]
    return moved


def _add_rows(sums: NDArray[np.float64], rows: FloatArray, codes: NDArray[np.uint32]) -> None:
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    sums[present] += np.add.reduceat(rows[order], starts, axis=0)


@contextmanager
def _faiss_threads(threads: int) -> Iterator[None]:
    import faiss

    before = faiss.omp_get_max_threads()
    if threads > 0:
        faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
