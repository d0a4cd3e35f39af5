"""Appending centroids: a codec learns what it serves badly, and decodes the rest as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .cells import Cells, float_rows
from .device import BuildDevice
from .kmeans import build_cells, train_centroids
from .model import Codec
from .training import (
    FEWEST_PER_CENTROID,
    HELDOUT_ROWS,
    HELDOUT_SHARE,
    MOST_PER_CENTROID,
    TRAINING_ITERATIONS,
    n_centroids,
)

FloatArray = NDArray[np.float32]

APPENDED_EXHAUSTIVE_BELOW: Final = 256
"""Up to so many appended centroids, rows are compared with all of them. They are appended often,
each time few: in cells it takes a fifth of the time and serves as well."""


def append_centroids(
    codec: Codec,
    sample: NDArray[np.floating],
    *,
    n_embeddings: int,
    served: float,
    at_most: int,
    seed: int = 0,
    threads: int = 0,
    device: BuildDevice | None = None,
) -> tuple[Codec, FloatArray] | None:
    """Add centroids for embeddings that a codec serves badly, behind those it has.

    Buckets and the inverse norm range stay, and so do the first centroids: what was compressed
    before decodes bit by bit as it did, under either codec.

    Args:
        codec: stays as it is.
        sample: float32 or float16 [n, dim], n at least 1, L2-normalised; of passages drawn at
            random from what drifted.
        n_embeddings: that drifted, of which the sample was drawn; sets the number of centroids.
        served: cosine with its centroid from which an embedding counts as served well.
        at_most: centroids to be added at most, at least 1.
        seed: equal seeds and samples give equal codecs on one machine.
        threads: 0 for all cores.
        device: a GPU that looks for what is served badly, where there are enough rows.

    Returns:
        The longer codec, and float32 [m], m at least 1: the cosines between held-out embeddings
        of the sample and their centroids under it; None where nothing in the sample is served
        badly.
    """
    order = np.random.default_rng(seed).permutation(len(sample))
    n_heldout = min(HELDOUT_ROWS, int(len(sample) * HELDOUT_SHARE))
    cosines = codec.centroid_cosines(sample, threads=threads, device=device)
    bad = order[n_heldout:][cosines[order[n_heldout:]] < served]
    if not len(bad):
        return None
    share = len(bad) / (len(sample) - n_heldout)
    wanted = _supported(min(at_most, n_centroids(round(n_embeddings * share))), len(bad))
    chosen = sample[np.sort(bad[: wanted * MOST_PER_CENTROID])]
    rows = float_rows(codec.rotated(chosen, threads=threads))
    longer = _joined(codec, _train(rows, wanted, seed, threads), seed, threads)
    # A sample too small to be cut serves as both.
    heldout = sample[order[:n_heldout]] if n_heldout else sample
    return longer, longer.centroid_cosines(heldout, threads=threads)


def _supported(wanted: int, n_rows: int) -> int:
    """A number of centroids, halved until the rows can fill them."""
    while wanted > 1 and wanted * FEWEST_PER_CENTROID > n_rows:
        wanted //= 2
    return wanted


def _train(rows: FloatArray, wanted: int, seed: int, threads: int) -> FloatArray:
    return train_centroids(
        rows,
        min(wanted, len(rows)),
        iterations=TRAINING_ITERATIONS,
        seed=seed,
        threads=threads,
        exhaustive_below=APPENDED_EXHAUSTIVE_BELOW,
    )[0]


def _joined(codec: Codec, centroids: FloatArray, seed: int, threads: int) -> Codec:
    """The codec with more centroids, in cells of their own where it has cells."""
    cells = None
    if codec.cells is not None:
        centroids, added = build_cells(centroids, seed=seed, threads=threads)
        cells = Cells(
            np.concatenate([codec.cells.centroids, added.centroids]),
            np.concatenate([codec.cells.offsets, added.offsets[1:] + codec.n_centroids]),
        )
    # Without cells the search stays exhaustive: cutting cells would renumber the centroids, and
    # maintenance appends to a codec of EXHAUSTIVE_BELOW only until it has four times as many.
    joined = np.concatenate([codec.centroids, centroids])
    return replace(codec, centroids=joined, cells=cells)
