"""Appending centroids: a codec learns what it serves badly, and decodes the rest as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .cells import EXHAUSTIVE_BELOW, Cells, assign, float_rows
from .kmeans import build_cells, distinct_rows, round_to_half, spherical_kmeans, train_centroids
from .model import Codec
from .training import (
    FEWEST_PER_CENTROID,
    HELDOUT_SHARE,
    MOST_PER_CENTROID,
    TRAINING_ITERATIONS,
    n_centroids,
)

FloatArray = NDArray[np.float32]


def append_centroids(
    codec: Codec,
    sample: NDArray[np.floating],
    *,
    n_embeddings: int,
    served: float,
    at_most: int,
    seed: int = 0,
    threads: int = 0,
) -> tuple[Codec, float] | None:
    """Add centroids for embeddings that a codec serves badly, behind those it has.

    Buckets and the inverse norm range stay, and so do the first centroids: what was compressed
    before decodes bit by bit as it did, under either codec.

    Args:
        codec: stays as it is.
        sample: float32 or float16 [n, dim], n at least 1, L2-normalised; of passages drawn at
            random from what drifted.
        n_embeddings: that drifted, of which the sample was drawn; sets the number of centroids.
        served: cosine with its centroid from which an embedding counts as served well.
        at_most: centroids to be added at most.
        seed: equal seeds and samples give equal codecs on one machine.
        threads: 0 for all cores.

    Returns:
        The longer codec, and the mean cosine between held-out embeddings of the sample and
        their centroids under it; None where nothing in the sample is served badly.
    """
    training, heldout = _split(sample, seed)
    cosines = assign(training, codec.centroids, codec.cells, threads=threads)[1]
    bad = training[cosines < served]
    share = len(bad) / len(training)
    wanted = min(at_most, n_centroids(max(1, round(n_embeddings * share))))
    while wanted > 1 and wanted * FEWEST_PER_CENTROID > len(bad):
        wanted //= 2
    if not len(bad) or wanted < 1:
        return None
    centroids = _train(bad[: wanted * MOST_PER_CENTROID], wanted, seed, threads)
    longer = _joined(codec, centroids, seed, threads)
    return longer, longer.centroid_cosine(heldout, threads=threads)


def _split(sample: NDArray[np.floating], seed: int) -> tuple[FloatArray, FloatArray]:
    """Shuffled rows that move centroids and those held out; a tiny sample serves as both."""
    shuffled = np.random.default_rng(seed).permutation(len(sample))
    n_heldout = int(len(sample) * HELDOUT_SHARE)
    if n_heldout == 0:
        return float_rows(sample[shuffled]), float_rows(sample)
    return float_rows(sample[shuffled[n_heldout:]]), float_rows(sample[shuffled[:n_heldout]])


def _train(rows: FloatArray, wanted: int, seed: int, threads: int) -> FloatArray:
    if wanted > EXHAUSTIVE_BELOW:
        return train_centroids(
            rows, wanted, iterations=TRAINING_ITERATIONS, seed=seed, threads=threads
        )[0]
    found = spherical_kmeans(
        rows, wanted, iterations=TRAINING_ITERATIONS, seed=seed, threads=threads
    )
    return distinct_rows(round_to_half(found))


def _joined(codec: Codec, centroids: FloatArray, seed: int, threads: int) -> Codec:
    """The codec with more centroids, in cells of their own where it has cells."""
    cells = None
    if codec.cells is not None:
        centroids, added = build_cells(centroids, seed=seed, threads=threads)
        cells = Cells(
            np.concatenate([codec.cells.centroids, added.centroids]),
            np.concatenate([codec.cells.offsets, added.offsets[1:] + codec.n_centroids]),
        )
    # Without cells the search stays exhaustive: cutting cells would renumber the centroids.
    joined = np.concatenate([codec.centroids, centroids])
    return replace(codec, centroids=joined, cells=cells)
