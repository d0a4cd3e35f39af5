"""One ranking of two: late interaction's and BM25's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import limits
from .bm25 import Scores, best_documents_by_words
from .hybrid import Hybrid
from .pipeline import rank
from .plan import SearchPlan
from .ranking import Ranking, best, concatenate
from .segments import Mask, SearchableSegment

MAX_EXACT: Final = 4096
"""Passages of the documents that only BM25 found, up to which all are scored in float32."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class HybridSearch:
    """Brings the two rankings of one query together.

    Args:
        segments: of one snapshot.
        hybrid: how.
        plan: of the fused ranking.
        deep: the plan by which late interaction finds its share.
        by_words: BM25 scores per segment, float64 [n_documents].
    """

    segments: Sequence[SearchableSegment]
    hybrid: Hybrid
    plan: SearchPlan
    deep: SearchPlan
    by_words: Sequence[Scores]

    def rank(
        self,
        query: FloatArray,
        documents: Sequence[Mask] | None,
        passages: Sequence[Mask] | None,
    ) -> Ranking:
        """The best by both, as `pipeline.rank` returns them, with fused scores.

        Args:
            query: float32 [nq, dim].
            documents: per segment bool [n_documents], what may be found; None for all.
            passages: the same as bool [n_passages].
        """
        near = concatenate([])
        if self.hybrid.weight > 0 or self.hybrid.fusion == "rrf":
            near = rank(query, self.segments, self.deep, passages)
        docnos = best_documents_by_words(self.by_words, documents, self.deep.k)
        candidates = concatenate([near, self._rest(query, docnos, near)])
        listed = np.concatenate(
            [scores[rows] for scores, rows in zip(self.by_words, docnos, strict=True)]
        )
        fused = self._fused(candidates, len(near), self._word_scores(candidates), listed)
        order = np.lexsort((candidates.pid, candidates.segment))
        ranking = Ranking(candidates.segment, candidates.pid, fused.astype(np.float32))
        return best(ranking.take(order), self.plan.k)

    def _rest(
        self, query: FloatArray, docnos: Sequence[NDArray[np.int64]], near: Ranking
    ) -> Ranking:
        """What only BM25 found, scored by late interaction, which also chooses the passage."""
        masks: list[Mask | None] = []
        n_passages = 0
        for number, (segment, rows) in enumerate(zip(self.segments, docnos, strict=True)):
            mask = np.zeros(segment.n_passages, dtype=np.bool_)
            found = near.pid[near.segment == number]
            if self.plan.group_by == "document":
                rows = np.setdiff1d(rows, segment.passage_document[found])
            firsts = np.searchsorted(segment.passage_document, rows, side="left")
            ends = np.searchsorted(segment.passage_document, rows, side="right")
            for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
                mask[first:end] = True
            if self.plan.group_by == "passage":
                mask[found] = False
            n_passages += int(np.count_nonzero(mask))
            masks.append(mask)
        if n_passages == 0:
            return concatenate([])
        wanted = n_passages if self.plan.group_by == "passage" else sum(map(len, docnos))
        deep = replace(self.deep, k=min(wanted, limits.MAX_K), exact=n_passages <= MAX_EXACT)
        return rank(query, self.segments, deep, masks)

    def _word_scores(self, candidates: Ranking) -> Scores:
        """float64, per candidate: the BM25 score of its document."""
        scores = np.zeros(len(candidates))
        for number in set(candidates.segment.tolist()):
            rows = candidates.segment == number
            docnos = self.segments[number].passage_document[candidates.pid[rows]]
            scores[rows] = self.by_words[number][docnos]
        return scores

    def _fused(self, candidates: Ranking, n_near: int, words: Scores, listed: Scores) -> Scores:
        vectors = candidates.score.astype(np.float64)
        if self.hybrid.fusion == "rrf":
            constant = self.hybrid.rank_constant
            by_vectors = 1 / (constant + _ranks(vectors, vectors[:n_near]))
            by_vectors[n_near:] = 0
            by_words = np.where(words > 0, 1 / (constant + _ranks(words, listed)), 0)
            if len(listed):
                by_words[words < listed.min()] = 0
            return by_vectors + by_words
        weight = self.hybrid.weight
        return weight * _share(vectors, n_near) + (1 - weight) * _share_of_words(words)


def _share(scores: Scores, n_listed: int) -> Scores:
    """Scores from the last of the list, 0, to the best one, 1; what is beyond the list is 0 too."""
    if n_listed == 0:
        return np.zeros(len(scores))
    low, high = scores[:n_listed].min(), scores[:n_listed].max()
    if high == low:
        return (scores >= high).astype(np.float64)
    return np.clip((scores - low) / (high - low), 0, 1)


def _share_of_words(scores: Scores) -> Scores:
    """BM25 scores from 0, which is no word in common, to the best one, 1."""
    return scores / scores.max() if len(scores) and scores.max() > 0 else scores


def _ranks(scores: Scores, listed: Scores) -> Scores:
    """Per score its rank in a list, from 1; equal scores have the same rank."""
    return 1.0 + len(listed) - np.searchsorted(np.sort(listed), scores, side="right")
