"""Token pooling: fewer vectors per passage, each the mean of tokens that say nearly the same.

Ward's hierarchical clustering merges, step by step, the two clusters whose union adds least to
the squared distances from cluster means. Written here since a passage is small and SciPy is a
large dependency for one function; the tests hold it against SciPy's.

Source: Clavié et al. 2024 (Reducing the footprint of multi-vector retrieval with minimal
performance impact via token pooling), section 3; Ward 1963; Lance and Williams 1967.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidParameterError
from .base import FloatArray

MAX_POOL_FACTOR: Final = 16
"""More tokens per vector than this leave nothing of late interaction."""

_PROTECTED: Final = 1
_SMALLEST_NORM: Final = 1e-6


def check_pool_factor(factor: object) -> int:
    """Return a usable factor.

    Raises:
        InvalidParameterError: no whole number from 1 to `MAX_POOL_FACTOR`.
    """
    if type(factor) is not int or not 1 <= factor <= MAX_POOL_FACTOR:
        raise InvalidParameterError(
            f"pool_factor is {factor!r}: use a whole number from 1 (no pooling) to "
            f"{MAX_POOL_FACTOR}."
        )
    return factor


def pool_tokens(vectors: FloatArray, factor: int) -> FloatArray:
    """Pool one passage's vectors.

    Args:
        vectors: float32 [n, dim], rows of length 1; the first, which stands for the passage as
            a whole, is kept as it is.
        factor: tokens per pooled vector, on average; 1 pools nothing.

    Returns:
        float32 [m, dim], rows of length 1, m = 1 + ceil((n - 1) / factor), in the order of each
        cluster's first token.
    """
    if factor == 1 or len(vectors) <= _PROTECTED + 1:
        return vectors
    labels = pooled_labels(vectors, factor)
    sums = np.zeros((int(labels.max()) + 1, vectors.shape[1]), dtype=np.float64)
    np.add.at(sums, labels, vectors.astype(np.float64))
    norms = np.linalg.norm(sums, axis=1)
    # Vectors that point in opposite directions have no mean direction: the first stands for them.
    lost = np.flatnonzero(norms < _SMALLEST_NORM)
    for cluster in lost:
        sums[cluster] = vectors[int(np.argmax(labels == cluster))]
    norms[lost] = np.linalg.norm(sums[lost], axis=1)
    pooled: FloatArray = (sums / norms[:, None]).astype(np.float32)
    return pooled


def pooled_labels(vectors: FloatArray, factor: int) -> NDArray[np.int64]:
    """Which pooled vector each token goes into, int64 [n], numbered by first tokens."""
    rest = vectors[_PROTECTED:]
    count = -(-len(rest) // factor)
    labels = np.arange(len(vectors), dtype=np.int64)
    labels[_PROTECTED:] = ward_labels(rest, count) + _PROTECTED
    return labels


def ward_labels(vectors: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Ward's clustering of rows into `count` clusters.

    Args:
        vectors: float [n, dim].
        count: clusters, 1 to n.

    Returns:
        int64 [n]: cluster of each row, numbered in the order of their first rows.
    """
    clusters = _Clusters(np.asarray(vectors, dtype=np.float64))
    for _ in range(len(vectors) - count):
        clusters.merge_nearest()
    return clusters.labels()


class _Clusters:
    """Clusters that merge, with the squared Ward distance between each two of them."""

    def __init__(self, vectors: NDArray[np.float64]) -> None:
        n = len(vectors)
        squares = np.einsum("nd,nd->n", vectors, vectors)
        self._distances = squares[:, None] + squares[None, :] - 2 * (vectors @ vectors.T)
        np.fill_diagonal(self._distances, np.inf)
        self._sizes = np.ones(n)
        self._owner = np.arange(n)
        self._nearest = self._distances.argmin(axis=1)
        self._best = self._distances[np.arange(n), self._nearest]

    def merge_nearest(self) -> None:
        """Merge the two clusters that are nearest to each other."""
        one = int(self._best.argmin())
        other = int(self._nearest[one])
        kept, gone = min(one, other), max(one, other)
        self._update_distances(kept, gone)
        self._owner[self._owner == gone] = kept
        self._sizes[kept] += self._sizes[gone]
        self._sizes[gone] = 0
        self._best[gone] = np.inf
        self._refresh(kept, gone)

    def labels(self) -> NDArray[np.int64]:
        """The cluster of each row, numbered in the order of their first rows."""
        # The kept number is always the smaller one, so a cluster is named by its first row.
        return np.unique(self._owner, return_inverse=True)[1].astype(np.int64).reshape(-1)

    def _update_distances(self, kept: int, gone: int) -> None:
        distances, sizes = self._distances, self._sizes
        a, b, between = sizes[kept], sizes[gone], distances[kept, gone]
        found = (a + sizes) * distances[kept] + (b + sizes) * distances[gone] - sizes * between
        found /= a + b + sizes
        found[[kept, gone]] = np.inf
        found[sizes == 0] = np.inf
        distances[kept] = distances[:, kept] = found
        distances[gone] = distances[:, gone] = np.inf

    def _refresh(self, kept: int, gone: int) -> None:
        """Find anew the nearest of those that were nearest to what has merged."""
        stale = (self._nearest == kept) | (self._nearest == gone)
        stale[kept] = True
        rows = np.flatnonzero(stale & (self._sizes > 0))
        self._nearest[rows] = self._distances[rows].argmin(axis=1)
        self._best[rows] = self._distances[rows, self._nearest[rows]]
        closer = self._distances[kept] < self._best
        self._nearest[closer] = kept
        self._best[closer] = self._distances[kept][closer]
