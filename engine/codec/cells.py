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
        parts = [
            kernels.assign_cells(
                rows, centroids, self.centroids, self.offsets, probes=probes, threads=threads
            )
            for rows in _native_parts(embeddings)
        ]
        codes, scores = zip(*parts, strict=True)
        return np.concatenate(codes), np.concatenate(scores)


def _native_parts(embeddings: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    """The array itself where kernels take it as it is, else float32 copies of its parts."""
    if embeddings.dtype in (np.float16, np.float32) and embeddings.flags.c_contiguous:
        yield embeddings
        return
    for part in chunks(*embeddings.shape):
        yield float_rows(embeddings[part])
    if not len(embeddings):
        yield float_rows(embeddings)


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
    codes = np.zeros(len(embeddings), dtype=np.uint32)
    scores = np.zeros(len(embeddings), dtype=np.float32)
    for part in chunks(len(embeddings), centroids.shape[1]):
        codes[part], scores[part] = kernels.assign(
            float_rows(embeddings[part]), centroids, threads=threads
        )
    return codes, scores
