"""Two-level search for the nearest centroid: coarse cells first, then the centroids in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels

FloatArray = NDArray[np.float32]
CodeArray = NDArray[np.uint32]

DEFAULT_PROBES: Final = 8
"""Coarse cells searched per embedding; about one embedding in a hundred misses its nearest."""

EXHAUSTIVE_BELOW: Final = 2048
"""Up to this many centroids, comparing with all of them is cheap enough."""

CHUNK_BYTES: Final = 32 << 20
"""Embeddings held as float32 at a time while a long array is worked through."""


def chunks(n_rows: int, dim: int) -> Iterator[slice]:
    """Cut `n_rows` embeddings into slices whose float32 form stays within `CHUNK_BYTES`."""
    step = max(1, CHUNK_BYTES // (4 * max(1, dim)))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def float_rows(embeddings: NDArray[np.floating]) -> FloatArray:
    """Rows as a C-contiguous float32 array; no copy where they are one already."""
    return np.ascontiguousarray(embeddings, dtype=np.float32)


def native_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float32] | NDArray[np.float16]:
    """The rows as kernels take them; no copy of C-contiguous float16 or float32."""
    if embeddings.dtype == np.float16:
        return np.ascontiguousarray(embeddings, dtype=np.float16)
    return float_rows(embeddings)


@dataclass(frozen=True, eq=False)
class Cells:
    """A partition of the centroids into coarse cells.

    Args:
        centroids: float32 [C, dim], one per cell, representable in fp16.
        offsets: int64 [C + 1]; cell i owns the centroids `offsets[i]` to `offsets[i + 1]`.
    """

    centroids: FloatArray
    offsets: NDArray[np.int64]

    def assign(
        self,
        embeddings: NDArray[np.floating],
        centroids: FloatArray,
        *,
        probes: int = DEFAULT_PROBES,
        threads: int = 0,
    ) -> tuple[CodeArray, FloatArray]:
        """Give each embedding the best centroid of its nearest coarse cells.

        Args:
            embeddings: float32 or float16 [n, dim], L2-normalised.
            centroids: float32 [K, dim], the ones that the cells partition.
            probes: cells searched per embedding; more is slower and nearer to exhaustive.
            threads: 0 for all cores.

        Returns:
            uint32 [n] codes and float32 [n] their dot products; ties go to the lower number.

        Source: Johnson et al. 2017 (faiss), inverted files with a coarse quantiser.
        """
        return kernels.assign_cells(
            native_rows(embeddings),
            centroids,
            self.centroids,
            self.offsets,
            probes=probes,
            threads=threads,
        )


def assign(
    embeddings: NDArray[np.floating],
    centroids: FloatArray,
    cells: Cells | None,
    *,
    probes: int = DEFAULT_PROBES,
    threads: int = 0,
) -> tuple[CodeArray, FloatArray]:
    """Give each embedding its nearest centroid: through `cells`, or exhaustively without.

    Args:
        embeddings: float32 or float16 [n, dim], L2-normalised.
        centroids: float32 [K, dim].
        cells: the two-level structure over these centroids, or None.
        probes: as in `Cells.assign`.
        threads: 0 for all cores.

    Returns:
        uint32 [n] codes and float32 [n] their dot products.
    """
    if cells is not None:
        return cells.assign(embeddings, centroids, probes=probes, threads=threads)
    return kernels.assign(native_rows(embeddings), centroids, threads=threads)
