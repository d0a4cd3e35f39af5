"""The embeddings of a foreign index in Weft's form, a bounded part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..codec import Codec
from ..codec.buckets import inverse_norm_range
from ..codec.cells import EXHAUSTIVE_BELOW, Cells
from ..codec.kmeans import build_cells
from ..codec.training import SMALLEST_NORM
from ..errors import ForeignIndexError, InvalidParameterError
from ..storage.merge import token_rows
from .foreign import REVERSED, Array, Chunk, ForeignIndex

PART_TOKENS: Final = 1 << 16
"""Embeddings that are worked on at a time."""

WHOLE: Final = (1.0, 1.0)
"""A range of inverse norms that scales nothing."""

I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes and residuals of all passages, by number of passage.

    Args:
        index: whose they are.
        threads: 0 for all cores.

    Raises:
        ForeignIndexError: centroids that cannot be a codec's.
    """

    index: ForeignIndex
    threads: int = 0

    @cached_property
    def doclens(self) -> I64:
        """int64 [passages]."""
        return self.index.doclens

    @cached_property
    def _ends(self) -> list[I64]:
        """Per chunk, the row behind each of its passages."""
        return [np.cumsum(chunk.doclens) for chunk in self.index.chunks]

    @cached_property
    def _firsts(self) -> I64:
        """The first passage of each chunk."""
        return np.cumsum([0, *(len(chunk.doclens) for chunk in self.index.chunks)])

    @cached_property
    def _cells(self) -> tuple[NDArray[np.float32], Cells | None, NDArray[np.uint32]]:
        """Centroids in the order that assignment wants, and the new number of each old one."""
        centroids = self.index.centroids.astype(np.float32)
        if len(centroids) <= EXHAUSTIVE_BELOW:
            return centroids, None, np.arange(len(centroids), dtype=np.uint32)
        ordered, cells = build_cells(centroids, seed=0, threads=self.threads)
        moved = np.empty(len(centroids), dtype=np.uint32)
        moved[_sorted_rows(centroids)] = _sorted_rows(ordered)
        return ordered, cells, moved

    @cached_property
    def codec(self) -> Codec:
        """Centroids and buckets as they are, and the range of the inverse norms.

        Above 2,048 the centroids get other numbers, so that those of a cell are neighbours.
        """
        centroids, cells, _ = self._cells
        low, high = np.inf, 0.0
        for codes, residuals in self._parts(np.flatnonzero(self.doclens)):
            lengths = self._lengths(codes, residuals)
            low, high = min(low, float(lengths.min())), max(high, float(lengths.max()))
        if not low <= high < np.inf:
            raise ForeignIndexError(f"{self.index.folder} holds no embeddings that can be rebuilt.")
        span = inverse_norm_range(1 / np.maximum([high, low], SMALLEST_NORM))
        index = self.index
        try:
            return Codec(
                centroids, index.bucket_cutoffs, index.bucket_weights, span, index.bits, cells
            )
        except InvalidParameterError as error:
            raise ForeignIndexError(f"{index.folder}: {error}") from error

    def read(
        self, pids: I64
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]]:
        """Codes, residuals, inverse norms and cosines to centroids of passages, in their order.

        Args:
            pids: int64, of passages that have embeddings.

        Raises:
            ForeignIndexError: a file is damaged, or holds a code beyond the centroids.
        """
        codec = self.codec
        low, high = (float(bound) for bound in codec.inverse_norm_range)
        for codes, residuals in self._parts(pids):
            rows = self._rebuilt(codes, residuals)
            lengths = np.maximum(np.linalg.norm(rows, axis=1), SMALLEST_NORM)
            steps = np.rint((1 / lengths - low) / (high - low) * 255)
            chosen = codec.centroids[codes]
            cosines = np.einsum("ij,ij->i", rows, chosen) / lengths
            cosines /= np.maximum(np.linalg.norm(chosen, axis=1), SMALLEST_NORM)
            inverse_norms = np.clip(steps, 0, 255).astype(np.uint8)
            yield codes.astype(codec.code_dtype), residuals, inverse_norms, cosines

    def _rebuilt(self, codes: NDArray[np.uint32], residuals: NDArray[np.uint8]) -> Array:
        """float32 [n, dim]: centroid + bucket weights, of whatever length."""
        return kernels.decompress(
            codes,
            residuals,
            np.zeros(len(codes), dtype=np.uint8),
            self._cells[0],
            self.index.bucket_weights,
            WHOLE,
            threads=self.threads,
        )

    def _lengths(self, codes: NDArray[np.uint32], residuals: NDArray[np.uint8]) -> Array:
        lengths: Array = np.linalg.norm(self._rebuilt(codes, residuals), axis=1)
        return lengths

    def _parts(self, pids: I64) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint8]]]:
        """Codes and residuals of passages in their order, neighbours of a chunk together."""
        numbers = np.searchsorted(self._firsts, pids, side="right") - 1
        part = np.cumsum(self.doclens[pids]) // PART_TOKENS
        cuts = np.flatnonzero((np.diff(numbers) != 0) | (np.diff(part) != 0)) + 1
        opened: tuple[int, Array, Array] | None = None
        for some, chunk in zip(np.split(pids, cuts), np.split(numbers, cuts), strict=True):
            if not len(some):
                continue
            number = int(chunk[0])
            if opened is None or opened[0] != number:
                opened = (number, *self._open(self.index.chunks[number]))
            ends = self._ends[number][some - self._firsts[number]]
            rows = token_rows(ends - self.doclens[some], ends)
            yield self._codes(opened[1][rows], number), REVERSED[opened[2][rows]]

    def _open(self, chunk: Chunk) -> tuple[Array, Array]:
        codes, residuals = chunk.codes(), chunk.residuals()
        n_rows, width = int(chunk.doclens.sum()), self.index.dim * self.index.bits // 8
        if codes.dtype.kind not in "iu" or codes.shape != (n_rows,):
            raise ForeignIndexError(
                f"{chunk.name} holds {codes.dtype} of shape {codes.shape}, and the lengths of its "
                f"passages sum to {n_rows:,}: copy the index again."
            )
        if residuals.dtype != np.uint8 or residuals.shape != (n_rows, width):
            raise ForeignIndexError(
                f"The residuals beside {chunk.name} are {residuals.dtype} of shape "
                f"{residuals.shape}, not uint8 of shape {(n_rows, width)}: copy the index again."
            )
        return codes, residuals

    def _codes(self, codes: Array, number: int) -> NDArray[np.uint32]:
        if int(codes.min()) < 0 or int(codes.max()) >= len(self.index.centroids):
            raise ForeignIndexError(
                f"{self.index.chunks[number].name} holds a code that is none of the "
                f"{len(self.index.centroids):,} centroids: copy the index again."
            )
        return self._cells[2][codes]


def _sorted_rows(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """The order of rows by their bytes, in which two orders of the same rows agree."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * 4))).ravel()
    order: NDArray[np.int64] = np.argsort(whole, kind="stable")
    return order
