"""Queries with their right answers: given ones, or made from the index's own passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import limits
from ..attribution import passage_vectors
from ..search.pipeline import rank
from ..search.plan import make_plan
from ..search.ranking import Ranking
from ..search.shortlist import all_pids
from ..storage.segment import SegmentView

FloatArray = NDArray[np.float32]
Key = tuple[int, int]

SAMPLED_VECTORS: Final = 32
"""Vectors of a passage that make a query."""

TOLERANCE: Final = 1e-4
"""By how much a passage may score less than the exact k-th and count as found."""

FURTHER: Final = 100
"""Passages looked at beyond the k-th for those within the tolerance."""


@dataclass(frozen=True, eq=False, slots=True)
class Query:
    """A query, and the passage that it was made from: position of its segment, and pid."""

    vectors: FloatArray
    source: Key | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """A query with its right answers.

    Args:
        query: vectors, and the passage that does not count.
        right: segment and pid of each passage that scores at least what the k-th does.
        n_wanted: k, or all passages where there are fewer.
    """

    query: Query
    right: frozenset[Key]
    n_wanted: int

    def recall(self, found: Ranking) -> float:
        """Share of the passages wanted that are among the first ones found.

        Args:
            found: best first, with one row more than wanted where a passage does not count.
        """
        keys = zip(found.segment.tolist(), found.pid.tolist(), strict=True)
        counted = [key for key in keys if key != self.query.source][: self.n_wanted]
        return sum(key in self.right for key in counted) / self.n_wanted


def sample_queries(segments: Sequence[SegmentView], n: int) -> list[Query]:
    """Make queries from the first vectors of passages drawn at random, the same each time.

    Args:
        segments: of one snapshot.
        n: queries wanted; fewer come where fewer passages are alive.
    """
    ends = np.cumsum([segment.n_alive_passages for segment in segments])
    random = np.random.default_rng(0)
    drawn = random.choice(ends[-1], size=min(n, int(ends[-1])), replace=False)
    queries = []
    for number, segment in enumerate(segments):
        first = int(ends[number]) - segment.n_alive_passages
        ranks = drawn[(drawn >= first) & (drawn < ends[number])] - first
        for pid in all_pids(segment, segment.alive)[ranks].tolist():
            vectors = passage_vectors(segment, pid)[:SAMPLED_VECTORS]
            queries.append(Query(np.ascontiguousarray(vectors), (number, pid)))
    return queries


def answered(query: Query, k: int, segments: Sequence[SegmentView], threads: int) -> Question:
    """Score every passage for a query.

    Args:
        query: to be answered.
        k: passages wanted.
        segments: of one snapshot, with a passage at least that the query was not made from.
        threads: 0 for all cores.
    """
    wanted = k + FURTHER
    while True:
        wanted = min(wanted, limits.MAX_K)
        plan = make_plan(wanted, exact=True, group_by="passage", threads=threads)
        scored = rank(query.vectors, segments, plan)
        keys = list(zip(scored.segment.tolist(), scored.pid.tolist(), strict=True))
        kept = [row for row, key in enumerate(keys) if key != query.source]
        worst = float(scored.score[kept[:k][-1]]) - TOLERANCE
        if len(keys) < wanted or wanted == limits.MAX_K or scored.score[-1] < worst:
            break
        wanted *= 4
    right = frozenset(keys[row] for row in kept if scored.score[row] >= worst)
    return Question(query, right, min(k, len(kept)))
