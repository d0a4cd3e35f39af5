"""Inverted lists: for each centroid, the sorted pids of the passages that hold its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CHUNK_TOKENS: Final = 1 << 22
"""Codes that are sorted at a time."""

LIST_ENTRIES: Final = 1 << 24
"""Entries of inverted lists that are held in memory at a time."""

I64 = NDArray[np.int64]
ReadCodes = Callable[[int, int], NDArray[Any]]


class InvertedLists:
    """Builds the lists of a segment from its codes in bounded memory.

    The first pass counts; `chunks` passes over the codes again for each range of centroids whose
    lists fit into memory, which is once for all but very large segments.

    Args:
        read_codes: `(first, last)` -> the codes of these tokens.
        doclens: uint32 [P].
        n_centroids: K.
    """

    def __init__(
        self, read_codes: ReadCodes, doclens: NDArray[np.uint32], n_centroids: int
    ) -> None:
        self._read_codes = read_codes
        self._offsets = np.concatenate(([0], np.cumsum(doclens, dtype=np.int64)))
        self.lengths = np.zeros(n_centroids, dtype=np.int64)
        self._only: I64 | None = None
        n_chunks = 0
        for keys in self._keys(0, n_centroids):
            self.lengths += np.bincount(keys >> 32, minlength=n_centroids)
            self._only, n_chunks = keys, n_chunks + 1
        if n_chunks != 1:
            self._only = None

    @property
    def n_entries(self) -> int:
        """Entries of all lists together."""
        return int(self.lengths.sum())

    def chunks(self) -> Iterator[NDArray[np.uint32]]:
        """The lists one after the other, by centroid and then by pid, in pieces."""
        if self._only is not None:
            yield (self._only & 0xFFFFFFFF).astype(np.uint32)
            return
        for low, high in self._ranges():
            keys = list(self._keys(low, high))
            # Stable, and passages come in order: pids stay sorted within each centroid.
            merged = np.concatenate(keys) if keys else np.empty(0, dtype=np.int64)
            order = np.argsort(merged >> 32, kind="stable")
            yield (merged[order] & 0xFFFFFFFF).astype(np.uint32)

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Ranges of centroids whose lists together have about `LIST_ENTRIES` entries."""
        part = np.cumsum(self.lengths) // LIST_ENTRIES
        edges = np.flatnonzero(np.diff(part, prepend=-1, append=part[-1] + 1))
        yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)

    def _keys(self, low: int, high: int) -> Iterator[I64]:
        """Sorted distinct `centroid << 32 | pid` of centroids in `[low, high)`, by chunk."""
        for first, last in self._passage_chunks():
            codes = self._read_codes(int(self._offsets[first]), int(self._offsets[last]))
            counts = np.diff(self._offsets[first : last + 1])
            pids = np.repeat(np.arange(first, last, dtype=np.int64), counts)
            keys = (codes.astype(np.int64) << 32) | pids
            if (low, high) != (0, len(self.lengths)):
                keys = keys[(codes >= low) & (codes < high)]
            yield np.unique(keys)

    def _passage_chunks(self) -> Iterator[tuple[int, int]]:
        """Ranges of passages with about `CHUNK_TOKENS` tokens, at least one passage each."""
        first, n_passages = 0, len(self._offsets) - 1
        while first < n_passages:
            limit = self._offsets[first] + CHUNK_TOKENS
            last = int(np.searchsorted(self._offsets, limit, side="right")) - 1
            last = max(last, first + 1)
            yield first, last
            first = last
