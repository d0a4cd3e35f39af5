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

U32 = NDArray[np.uint32]
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
        self._only: U32 | None = None
        n_chunks = 0
        for codes, pids in self._entries():
            self.lengths += np.bincount(codes, minlength=n_centroids)
            self._only, n_chunks = pids, n_chunks + 1
        if n_chunks != 1:
            self._only = None

    @property
    def n_entries(self) -> int:
        """Entries of all lists together."""
        return int(self.lengths.sum())

    def chunks(self) -> Iterator[U32]:
        """The lists one after the other, by centroid and then by pid, in pieces."""
        if self._only is not None:
            yield self._only
            return
        for low, high in self._ranges():
            parts = [_between(codes, pids, low, high) for codes, pids in self._entries()]
            codes, pids = (np.concatenate(part) for part in zip(*parts, strict=True))
            # Stable, and passages come in order: pids stay sorted within each centroid.
            yield pids[np.argsort(codes, kind="stable")]

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Ranges of centroids whose lists together have about `LIST_ENTRIES` entries."""
        part = np.cumsum(self.lengths) // LIST_ENTRIES
        edges = np.flatnonzero(np.diff(part, prepend=-1, append=part[-1] + 1))
        yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)

    def _entries(self) -> Iterator[tuple[NDArray[Any], U32]]:
        """Codes and pids of the distinct pairs of the two, sorted, by chunk."""
        for first, last in self._passage_chunks():
            codes = self._read_codes(int(self._offsets[first]), int(self._offsets[last]))
            counts = np.diff(self._offsets[first : last + 1])
            pids = np.repeat(np.arange(first, last, dtype=np.uint32), counts)
            # Stable: pids ascend already. NumPy sorts 16 bits by radix.
            order = np.argsort(codes, kind="stable")
            codes, pids = codes[order], pids[order]
            distinct = np.ones(len(codes), dtype=np.bool_)
            distinct[1:] = (codes[1:] != codes[:-1]) | (pids[1:] != pids[:-1])
            yield codes[distinct], pids[distinct]

    def _passage_chunks(self) -> Iterator[tuple[int, int]]:
        """Ranges of passages with about `CHUNK_TOKENS` tokens, at least one passage each."""
        first, n_passages = 0, len(self._offsets) - 1
        while first < n_passages:
            limit = self._offsets[first] + CHUNK_TOKENS
            last = int(np.searchsorted(self._offsets, limit, side="right")) - 1
            last = max(last, first + 1)
            yield first, last
            first = last


def _between(codes: NDArray[Any], pids: U32, low: int, high: int) -> tuple[NDArray[Any], U32]:
    """The entries of the centroids in `[low, high)`, of entries sorted by centroid."""
    # Bounds of the codes' own dtype: another would have them all converted.
    first = np.searchsorted(codes, codes.dtype.type(low), side="left")
    last = np.searchsorted(codes, codes.dtype.type(high - 1), side="right")
    return codes[first:last], pids[first:last]
