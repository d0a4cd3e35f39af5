"""Two-level assignment to the same centroids, call after call: what a codec of an index is for.

Centroids and cells are turned into bytes once; `assign_cells` does it in every call.
"""

from __future__ import annotations

from typing import Protocol

from .arrays import F32, I64, U32, Embeddings
from .dispatch import backend


class CellIndex(Protocol):
    """Centroids in cells, prepared for assignment; safe for threads."""

    def assign(self, embeddings: Embeddings, *, probes: int, threads: int = 0) -> tuple[U32, F32]:
        """Give each embedding the best centroid of its nearest cells, as `assign_cells` does."""


def cell_index(
    centroids: F32, cell_centroids: F32, cell_offsets: I64, *, threads: int = 0
) -> CellIndex:
    """Prepare centroids for assignment.

    Args:
        centroids: float32 [K, dim], finite, K at least 1; looked into, not copied.
        cell_centroids: float32 [C, dim], finite, C at least 1.
        cell_offsets: int64 [C + 1]; cell c owns the centroids from `cell_offsets[c]` to
            `cell_offsets[c + 1]`, at least one.
        threads: 0 for the default.
    """
    index: CellIndex = backend().CellIndex(centroids, cell_centroids, cell_offsets, threads=threads)
    return index
