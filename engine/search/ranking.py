"""Scored passages of several segments, brought into one order and grouped by document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from .segments import SearchableSegment, refusals_of

MAX_TIES: Final = 1024
"""Passages as good as the last one that are handed on, so that the caller can order ties."""


FEW: Final = 128
"""Scores that are looked at one by one as quickly as by NumPy."""


@dataclass(frozen=True, eq=False, slots=True)
class Ranking:
    """Passages and their scores.

    Args:
        segment: int32 [m], position in the list of segments that was searched.
        pid: uint32 [m], number inside that segment.
        score: float32 [m].
        ordered: said to be best first, ties by segment and pid, unless a score is NaN.
    """

    segment: NDArray[np.int32]
    pid: NDArray[np.uint32]
    score: NDArray[np.float32]
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.pid)

    def take(self, rows: NDArray[np.integer] | slice) -> Ranking:
        """Some of the rows, in the order asked for."""
        return Ranking(self.segment[rows], self.pid[rows], self.score[rows])


def concatenate(parts: Sequence[Ranking]) -> Ranking:
    """Put rankings behind one another."""
    if not parts:
        return scored(0, np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.float32))
    return Ranking(
        np.concatenate([part.segment for part in parts]),
        np.concatenate([part.pid for part in parts]),
        np.concatenate([part.score for part in parts]),
    )


def scored(segment: int, pids: NDArray[np.uint32], scores: NDArray[np.float32]) -> Ranking:
    """The passages of one segment with their scores, in the order given."""
    return Ranking(np.full(len(pids), segment, dtype=np.int32), pids, scores)


def top(scores: NDArray[np.float32], n: int) -> NDArray[np.uint32]:
    """The rows of the n highest scores, best first, the lower row first in a tie.

    Raises:
        CorruptIndexError: a score is NaN, which sound embeddings and queries cannot give.
    """
    with refusals_of("A passage's embeddings"):
        return kernels.topk(scores, n)


def best(passages: Ranking, n: int) -> Ranking:
    """The n best, best first, and up to `MAX_TIES` more that score the same as the last.

    Args:
        passages: in the order that decides between equal scores.
        n: at least 1.
    """
    if len(passages) == 0:
        return passages
    if _is_ordered(passages, n):
        return _cut_after_ties(passages, n)
    last = passages.score[top(passages.score, n)[-1]]
    rows = np.flatnonzero(passages.score >= last)
    if len(rows) > n + MAX_TIES:
        return passages.take(top(passages.score, n + MAX_TIES))
    return passages.take(rows[np.argsort(-passages.score[rows], kind="stable")])


def best_documents(
    passages: Ranking, n: int, segments: Sequence[SearchableSegment]
) -> tuple[Ranking, bool]:
    """The n best documents, each by its best passage.

    Args:
        passages: in the order that decides between equal scores.
        n: documents wanted, at least 1.
        segments: what `passages.segment` points into.

    Returns:
        As `best`, one passage per document; and whether there are n of them (else more
        passages must be scored, if there are any).
    """
    taken = n
    while True:
        some = best(passages, taken)
        grouped = group_by_document(some, segments)
        enough = len(grouped) >= n
        if grouped is some and taken == n:
            return some, enough
        if enough or taken >= len(passages):
            return _cut_after_ties(grouped, n), enough
        taken *= 4


def group_by_document(ranking: Ranking, segments: Sequence[SearchableSegment]) -> Ranking:
    """Keep each document's first passage.

    Args:
        ranking: best first.
        segments: what `ranking.segment` points into.

    Returns:
        The same order, one passage per document.
    """
    documents = _documents_of(ranking, segments)
    if len(set(documents)) == len(documents):
        return ranking
    first: dict[int, int] = {}
    for row, document in enumerate(documents):
        first.setdefault(document, row)
    return ranking.take(np.fromiter(first.values(), dtype=np.int64, count=len(first)))


def _documents_of(ranking: Ranking, segments: Sequence[SearchableSegment]) -> list[int]:
    """A number for each row, equal for passages of one document only."""
    numbers = set(ranking.segment.tolist())
    if len(numbers) == 1:
        alone: list[int] = segments[numbers.pop()].passage_document.take(ranking.pid).tolist()
        return alone
    documents = np.empty(len(ranking), dtype=np.uint64)
    for number in numbers:
        rows = ranking.segment == number
        docnos = segments[number].passage_document[ranking.pid[rows]]
        documents[rows] = docnos.astype(np.uint64) | (np.uint64(number) << np.uint64(32))
    several: list[int] = documents.tolist()
    return several


def _is_ordered(passages: Ranking, n: int) -> bool:
    """Whether the n best stand first, best first; False where one of them is NaN."""
    if passages.ordered and n <= FEW:
        total = sum(passages.score[: n + 1].tolist())
        return bool(total == total)
    return _descends(passages.score)


def _descends(scores: NDArray[np.float32]) -> bool:
    """Whether scores are best first already, as a search in bytes gives them; NaN is nowhere."""
    return bool((scores[1:] <= scores[:-1]).all()) and scores[0] == scores[0]


def _cut_after_ties(ranking: Ranking, n: int) -> Ranking:
    """The first n of a ranking, best first, and what scores as the last of them."""
    if len(ranking) <= n:
        return ranking
    last, after = ranking.score[n - 1 : n + 1].tolist()
    if after != last:  # as nearly always: a ranking descends
        return ranking.take(slice(0, n))
    tied = int(np.count_nonzero(ranking.score[n:] == last))
    return ranking.take(slice(0, n + min(tied, MAX_TIES)))
