"""How well centroids serve embeddings: the three figures that drift is told by."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FAR_PERCENTILE: Final = 5.0
"""Percentile of the held-out embeddings' cosines to their centroids, below which one is far."""


def far_cosine(cosines: NDArray[np.floating[Any]]) -> float:
    """The cosine below which embeddings lie far from their centroids.

    Args:
        cosines: floats [n], n at least 1, of embeddings that were held out in training.
    """
    return float(np.percentile(cosines, FAR_PERCENTILE))


def far_share(cosines: NDArray[np.floating[Any]], bound: float) -> float:
    """Share of embeddings, of at least one, that lie farther from their centroids than a bound.

    Args:
        cosines: floats [n], with their centroids.
        bound: a cosine.
    """
    return float(np.count_nonzero(cosines < bound)) / len(cosines)


def skew(counts: NDArray[np.integer[Any]]) -> float | None:
    """By how much unevenly filled centroids make a visited list longer than evenly filled ones.

    K * sum(n_i * (n_i - 1)) / (N * (N - 1)): the imbalance factor of inverted files, of pairs of
    distinct embeddings, so that a few embeddings over many centroids come to the same in the mean
    as many. 1 for even filling, K where one centroid holds all.

    Args:
        counts: integers [K], embeddings of each centroid.

    Returns:
        None for fewer than two embeddings.

    Source: Jégou, Tavenard, Douze and Amsaleg 2011 (Searching in one billion vectors), section 2,
    for the factor over all pairs.
    """
    filled = counts.astype(np.float64)
    total = float(filled.sum())
    if total < 2:
        return None
    return len(counts) * float((filled * (filled - 1)).sum()) / (total * (total - 1))


class Tally:
    """Adds up how embeddings are served while they are written.

    Args:
        n_centroids: K of the codec that they are compressed with.
        far_cosine: of its training; None where it was not recorded.
    """

    def __init__(self, n_centroids: int, far_cosine: float | None) -> None:
        self._bound = far_cosine
        self._counts = np.zeros(n_centroids, dtype=np.int64)
        self._n_tokens = 0
        self._cosines = 0.0
        self._n_far: float | None = None if far_cosine is None else 0.0

    def add(self, codes: NDArray[Any], cosines: NDArray[np.floating[Any]]) -> None:
        """Note embeddings that were just compressed: codes and cosines [n]."""
        self._count(codes)
        self._cosines += float(cosines.sum(dtype=np.float64))
        if self._bound is not None and self._n_far is not None:
            self._n_far += float(np.count_nonzero(cosines < self._bound))

    def add_copied(self, codes: NDArray[Any], cosine: float, far_share: float | None) -> None:
        """Note embeddings of which only the means of their segment are known."""
        self._count(codes)
        self._cosines += cosine * len(codes)
        known = self._n_far is not None and far_share is not None
        self._n_far = (self._n_far or 0.0) + (far_share or 0.0) * len(codes) if known else None

    def _count(self, codes: NDArray[Any]) -> None:
        # Only the centroids that occur: a small segment does not walk over all of them.
        found, counts = np.unique(codes, return_counts=True)
        self._counts[found] += counts
        self._n_tokens += len(codes)

    @property
    def cosine(self) -> float:
        """Mean cosine between the embeddings, at least one, and their centroids."""
        return self._cosines / self._n_tokens

    @property
    def far_share(self) -> float | None:
        """Share of them that are far; None where that is not known of all."""
        return None if self._n_far is None else self._n_far / self._n_tokens

    @property
    def skew(self) -> float | None:
        """See `skew`."""
        return skew(self._counts)
