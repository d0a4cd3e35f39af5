"""The NumPy oracle of what groups embeddings; see `weft.kernels.reference`."""

from __future__ import annotations

import numpy as np

from .arrays import (
    F32,
    I64,
    U32,
    Codes,
    Embeddings,
    require_array,
    require_below,
    require_centroids,
    require_equal,
    require_finite,
    require_range,
    require_threads,
    require_vectors,
)


def assign(embeddings: Embeddings, centroids: F32, *, threads: int = 0) -> tuple[U32, F32]:
    """The centroid of the highest dot product; a thousand embeddings at a time."""
    require_vectors("embeddings", embeddings, (np.float32, np.float16))
    require_centroids(centroids, embeddings.shape[1])
    require_finite("embeddings", embeddings)
    require_threads(threads)
    codes = np.empty(embeddings.shape[0], dtype=np.uint32)
    best = np.empty(embeddings.shape[0], dtype=np.float32)
    for start in range(0, embeddings.shape[0], 1000):
        rows = slice(start, start + 1000)
        with np.errstate(invalid="ignore", over="ignore"):
            scores = embeddings[rows].astype(np.float32) @ centroids.T
        scores[np.isnan(scores)] = -np.inf
        codes[rows] = scores.argmax(axis=1)
        best[rows] = scores.max(axis=1)
    if not np.isfinite(best).all():
        raise ValueError("centroids: no finite best score; they hold NaN, infinity or overflow")
    return codes, best


def assign_cells(
    embeddings: Embeddings,
    centroids: F32,
    cell_centroids: F32,
    cell_offsets: I64,
    *,
    probes: int,
    threads: int = 0,
) -> tuple[U32, F32]:
    """The centroid of the highest dot product among those of the nearest cells, in float32."""
    require_vectors("embeddings", embeddings, (np.float32, np.float16))
    for name, rows in (("centroids", centroids), ("cell_centroids", cell_centroids)):
        require_centroids(rows, embeddings.shape[1], name)
        require_finite(name, rows)
    require_array("cell_offsets", cell_offsets, (np.int64,), 1)
    n_cells = len(cell_centroids)
    require_equal("cell_offsets", len(cell_offsets), n_cells + 1, "offsets, one more than cells")
    if (np.diff(cell_offsets) <= 0).any() or [*cell_offsets[[0, -1]]] != [0, len(centroids)]:
        raise ValueError("cell_offsets: do not cut the centroids into cells that hold some each")
    probes = min(require_range("probes", probes, 1, 2**32 - 1), n_cells)
    require_threads(threads)
    require_finite("embeddings", embeddings.astype(np.float32))
    cells = np.repeat(np.arange(n_cells), np.diff(cell_offsets))
    codes = np.empty(len(embeddings), dtype=np.uint32)
    best = np.empty(len(embeddings), dtype=np.float32)
    for i, row in enumerate(embeddings.astype(np.float32)):
        probed = np.argsort(-(cell_centroids @ row), kind="stable")[:probes]
        scores = np.where(np.isin(cells, probed), centroids @ row, -np.inf)
        codes[i], best[i] = scores.argmax(), scores.max()
    if not np.isfinite(best).all():
        raise ValueError("centroids: a product with an embedding overflows")
    return codes, best


class CellIndex:
    """The arrays of `assign_cells` but for the embeddings."""

    def __init__(
        self, centroids: F32, cell_centroids: F32, cell_offsets: I64, *, threads: int = 0
    ) -> None:
        self._arrays = centroids, cell_centroids, cell_offsets
        require_vectors("centroids", centroids)
        nothing = np.empty((0, centroids.shape[1]), dtype=np.float32)
        assign_cells(nothing, *self._arrays, probes=1, threads=threads)

    def assign(self, embeddings: Embeddings, *, probes: int, threads: int = 0) -> tuple[U32, F32]:
        """`assign_cells`."""
        return assign_cells(embeddings, *self._arrays, probes=probes, threads=threads)


def squared_lengths(rows: Embeddings, *, threads: int = 0) -> F32:
    """The dot product of each row with itself."""
    require_vectors("rows", rows, (np.float32, np.float16))
    require_threads(threads)
    floats = rows.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths: F32 = (floats * floats).sum(axis=1, dtype=np.float32)
    return lengths


def sum_rows(rows: Embeddings, groups: Codes, n_groups: int, *, threads: int = 0) -> F32:
    """Add the rows one after the other."""
    require_vectors("rows", rows, (np.float32, np.float16))
    require_array("groups", groups, (np.uint16, np.uint32), 1)
    require_equal("groups", groups.size, rows.shape[0], "numbers, one per row")
    n_groups = require_range("n_groups", n_groups, 0, 2**32 - 1)
    require_below("groups", groups, n_groups)
    require_threads(threads)
    sums = np.zeros((n_groups, rows.shape[1]))
    np.add.at(sums, groups, rows.astype(np.float64))
    return sums.astype(np.float32)
