"""BM25 over the full text of all segments of a generation, as if they were one.

Statistics are global: documents and their mean length are counted over all segments, the deleted
ones left out. So a score does not depend on how documents lie in segments.

Source: Robertson and Zaragoza 2009, with Lucene's form of the inverse document frequency, which
is never negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .ranking import MAX_TIES
from .segments import Mask, WordSegment

K1: Final = 1.2
"""How soon more occurrences of a word stop to count."""

B: Final = 0.75
"""How much the length of a document counts."""

MAX_WORDS: Final = 1024
"""Distinct words of a query that are looked up, the first ones."""

MAX_POSTINGS: Final = 1_000_000
"""Entries of inverted lists that one query reads: the commonest words beyond it are left out."""

Scores = NDArray[np.float64]


def word_scores(query: Mapping[str, int], segments: Sequence[WordSegment]) -> list[Scores] | None:
    """The BM25 score of every document.

    Args:
        query: words as the index has them, and how often each stands in the query.
        segments: of one generation.

    Returns:
        float64 [n_documents] per segment, 0 where no word matches or the document is deleted;
        None if no document has any text.
    """
    n_documents = sum(segment.n_alive_documents for segment in segments)
    n_words = sum(segment.n_alive_words for segment in segments)
    if n_words == 0:
        return None
    scores = [np.zeros(segment.full_text.n_documents) for segment in segments]
    scorer = _Scorer(segments, n_documents, n_words / n_documents)
    # Sums of floats depend on their order, which must not depend on the segments.
    for word in sorted(_affordable(list(query)[:MAX_WORDS], segments)):
        scorer.add(word, query[word], scores)
    return scores


def _affordable(words: list[str], segments: Sequence[WordSegment]) -> list[str]:
    """The words that are somewhere, the rarest first, as many as `MAX_POSTINGS` allows."""
    counts = np.zeros(len(words), dtype=np.int64)
    for segment in segments:
        counts += segment.full_text.document_counts(words)
    found = sorted((count, word) for count, word in zip(counts.tolist(), words, strict=True))
    chosen, left = [], MAX_POSTINGS
    for count, word in found:
        left -= count
        if left < 0:
            break
        if count:
            chosen.append(word)
    return chosen


@dataclass(frozen=True, eq=False, slots=True)
class _Scorer:
    """Adds words to scores.

    Args:
        segments: of one generation.
        n_documents: that are alive.
        mean_length: their words in the mean.
    """

    segments: Sequence[WordSegment]
    n_documents: int
    mean_length: float

    def add(self, word: str, times: int, scores: Sequence[Scores]) -> None:
        """What a word of the query gives to each document."""
        postings = [self._alive_postings(segment, word) for segment in self.segments]
        n_with = sum(len(docnos) for docnos, _ in postings)
        weight = times * math.log1p((self.n_documents - n_with + 0.5) / (n_with + 0.5))
        for segment, (docnos, counts), sums in zip(self.segments, postings, scores, strict=True):
            lengths = segment.full_text.lengths[docnos] / self.mean_length
            sums[docnos] += weight * counts / (counts + K1 * (1 - B + B * lengths))

    def _alive_postings(
        self, segment: WordSegment, word: str
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        docnos, counts = segment.full_text.postings(word)
        if segment.alive_documents is None:
            return docnos, counts
        kept = segment.alive_documents[docnos]
        return docnos[kept], counts[kept]


def best_documents_by_words(
    scores: Sequence[Scores], wanted: Sequence[Mask] | None, n: int
) -> list[NDArray[np.int64]]:
    """The documents that score best, and up to `MAX_TIES` more as good as the last of them.

    Args:
        scores: as of `word_scores`.
        wanted: per segment bool [n_documents], what may be found; None for all.
        n: at least 1.

    Returns:
        Per segment int64 docnos, ascending; only documents that hold a word of the query.
    """
    found = [np.flatnonzero(sums > 0) for sums in scores]
    if wanted is not None:
        found = [rows[mask[rows]] for rows, mask in zip(found, wanted, strict=True)]
    values = np.concatenate([sums[rows] for sums, rows in zip(scores, found, strict=True)])
    if len(values) <= n:
        return found
    last = np.partition(values, -n)[-n]
    room = n + MAX_TIES
    chosen = []
    for sums, rows in zip(scores, found, strict=True):
        chosen.append(rows[sums[rows] >= last][: max(room, 0)])
        room -= len(chosen[-1])
    return chosen
