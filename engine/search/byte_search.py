"""The search in bytes over a pool of coded segments: one call for all stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from .ranking import Ranking
from .segments import SearchableSegment, refusals_of
from .shortlist import CodedPool

MAX_QUERY_EMBEDDINGS: Final = 1023
"""Longer queries go stage by stage."""


@dataclass(frozen=True, eq=False, slots=True)
class ByteSearch:
    """One query against a pool, by the native search.

    Args:
        pool: segments of one codec.
        codec: its codec, prepared.
    """

    pool: CodedPool
    codec: kernels.SearchCodec

    def shortlist(self, nprobe: int, ndocs: int, n_rescored: int) -> Ranking:
        """The passages that scored best, best first, ties by segment and pid.

        Args:
            nprobe: inverted lists per query vector.
            ndocs: passages kept after accumulation.
            n_rescored: passages kept after centroid interaction, scored on their residuals.

        Raises:
            CorruptIndexError: a segment's data is damaged.
        """
        numbers = list(self.pool.segments)
        device = self.pool.plan.device
        found = None if device is None else device.search(self.pool, nprobe, ndocs, n_rescored)
        if found is not None:
            return Ranking(_numbered(found[0], numbers), *found[1:])
        segments = [self.pool.segments[number] for number in numbers]
        while True:
            with refusals_of("A compressed segment"):
                positions, pids, scores, unchecked = self.codec.search(
                    self.pool.query,
                    [segment.coded for segment in segments],
                    [self.pool.wanted[number] for number in numbers],
                    nprobe=nprobe,
                    n_candidates=ndocs,
                    n_rescored=n_rescored,
                    n_exact=self.pool.plan.n_exact,
                    threads=self.pool.plan.threads,
                )
            if not len(unchecked):
                break
            _check_blocks(segments, unchecked)
        return Ranking(_numbered(positions, numbers), pids, scores, ordered=True)


def byte_search(pool: CodedPool) -> ByteSearch | None:
    """The search in bytes, where the plan, the query and this installation allow it."""
    if pool.plan.algorithm != "weft" or len(pool.query) > MAX_QUERY_EMBEDDINGS:
        return None
    codec = pool.codec.prepared
    return None if codec is None else ByteSearch(pool, codec)


def _numbered(positions: NDArray[np.uint32], numbers: list[int]) -> NDArray[np.int32]:
    """int32 [m]: the numbers of segments at these positions, which are mostly the same."""
    if numbers == list(range(len(numbers))):
        return positions.view(np.int32)
    return np.array(numbers, dtype=np.int32)[positions]


def _check_blocks(segments: list[SearchableSegment], unchecked: NDArray[np.int64]) -> None:
    """Verify what the search wants to read; it asks for the next stage's when it is there."""
    for position in np.unique(unchecked[:, 0]).tolist():
        rows = unchecked[unchecked[:, 0] == position]
        segments[position].check_blocks(rows[:, 1], rows[:, 2])
