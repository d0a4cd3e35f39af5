"""From ranked passages to the documents that the caller added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .documents import Hit, Passage
from .search.ranking import Ranking
from .storage.segment import SegmentView


def make_hits(ranking: Ranking, segments: Sequence[SegmentView], k: int) -> list[Hit]:
    """Fetch documents and spans for the best k rows of a ranking.

    Args:
        ranking: best first, with the rows that tie with the k-th behind it.
        segments: what `ranking.segment` points into.
        k: hits wanted.

    Returns:
        At most k hits; equal scores come in the order of document id and ordinal, so that the
        way in which documents were spread over segments cannot be seen.
    """
    hits: list[Hit] = []
    scores = ranking.score.tolist()
    numbers = sorted(set(ranking.segment.tolist()))
    alone = len(numbers) == 1
    for number in numbers:
        part = ranking if alone else ranking.take(np.flatnonzero(ranking.segment == number))
        hits += _hits_of_segment(segments[number], part, scores if alone else part.score.tolist())
    if not alone or len(set(scores)) < len(scores):
        hits.sort(key=lambda hit: (-hit.score, hit.id, hit.passage.ordinal))
    return hits[:k]


def _hits_of_segment(segment: SegmentView, ranking: Ranking, scores: list[float]) -> list[Hit]:
    docnos = segment.passage_document.take(ranking.pid).tolist()
    found = segment.passages.found(ranking.pid.tolist(), docnos)
    return [
        Hit(id, score, text, metadata, Passage(id, ordinal, start, end, text[start:end]))
        for (id, text, metadata, start, end, ordinal), score in zip(found, scores, strict=True)
    ]
