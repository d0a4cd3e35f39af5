"""One ranking of two: late interaction's and BM25's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import limits
from .bm25 import Scores, best_documents_by_words
from .hybrid import Hybrid
from .pipeline import rank
from .plan import SearchPlan
from .ranking import Ranking, best, concatenate, scored
from .segments import Mask, SearchableSegment

MAX_EXACT: Final = 4096
"""Passages of the documents that only BM25 found, up to which all are scored in float32 to
choose the best of each."""

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
        candidates = concatenate([near, self._only_by_words(docnos, near)])
        listed = np.concatenate(
            [scores[rows] for scores, rows in zip(self.by_words, docnos, strict=True)]
        )
        fused = self._fused(candidates, len(near), self._word_scores(candidates), listed)
        order = np.lexsort((candidates.pid, candidates.segment))
        ranking = Ranking(candidates.segment, candidates.pid, fused.astype(np.float32))
        chosen = best(ranking.take(order), self.plan.k)
        if self.plan.group_by == "passage":
            return chosen
        return self._with_passages(query, chosen, np.isin(_keys(chosen), _keys(near)))

    def _only_by_words(self, docnos: Sequence[NDArray[np.int64]], near: Ranking) -> Ranking:
        """What only BM25 found: passages, or the first one for each document."""
        parts = []
        for number, (segment, rows) in enumerate(zip(self.segments, docnos, strict=True)):
            found = near.pid[near.segment == number]
            if self.plan.group_by == "passage":
                pids = np.setdiff1d(_passages_of(segment, rows), found)
            else:
                rest = np.setdiff1d(rows, segment.passage_document[found])
                pids = np.searchsorted(segment.passage_document, rest, side="left")
            zeros = np.zeros(len(pids), dtype=np.float32)
            parts.append(scored(number, pids.astype(np.uint32), zeros))
        return concatenate(parts)

    def _with_passages(
        self, query: FloatArray, ranking: Ranking, have: NDArray[np.bool_]
    ) -> Ranking:
        """Documents with their best passage, which late interaction chooses.

        Args:
            query: float32 [nq, dim].
            ranking: documents.
            have: bool, whether a document is there with its best passage already.
        """
        if have.all():
            return ranking
        masks: list[Mask] = []
        for number, segment in enumerate(self.segments):
            pids = ranking.pid[~have & (ranking.segment == number)]
            mask = np.zeros(segment.n_passages, dtype=np.bool_)
            mask[_passages_of(segment, segment.passage_document[pids])] = True
            masks.append(mask)
        n_passages = sum(int(np.count_nonzero(mask)) for mask in masks)
        wanted = min(int(np.count_nonzero(~have)), limits.MAX_K)
        deep = replace(self.deep, k=wanted, exact=n_passages <= MAX_EXACT)
        found = rank(query, self.segments, deep, masks)
        places = dict(zip(self._documents(found), found.pid.tolist(), strict=True))
        documents = self._documents(ranking)
        chosen = [
            pid if known else places.get(document, pid)
            for pid, known, document in zip(
                ranking.pid.tolist(), have.tolist(), documents, strict=True
            )
        ]
        return Ranking(ranking.segment, np.array(chosen, dtype=np.uint32), ranking.score)

    def _documents(self, ranking: Ranking) -> list[tuple[int, int]]:
        """Segment and docno of each row."""
        rows = zip(ranking.segment.tolist(), ranking.pid.tolist(), strict=True)
        return [(n, int(self.segments[n].passage_document[pid])) for n, pid in rows]

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
        vectors[n_near:] = -np.inf  # not among its best: no rank, no share
        if self.hybrid.fusion == "rrf":
            constant = self.hybrid.rank_constant
            by_vectors = 1 / (constant + _ranks(vectors, vectors[:n_near]))
            by_vectors[n_near:] = 0.0
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
        best_alone: Scores = (scores >= high).astype(np.float64)
        return best_alone
    share: Scores = np.clip((scores - low) / (high - low), 0, 1)
    return share


def _keys(ranking: Ranking) -> NDArray[np.uint64]:
    """A number for each passage of a ranking."""
    return ranking.segment.astype(np.uint64) << np.uint64(32) | ranking.pid.astype(np.uint64)


def _passages_of(segment: SearchableSegment, docnos: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The pids of documents' passages, ascending."""
    owners = segment.passage_document
    firsts = np.searchsorted(owners, np.unique(docnos), side="left")
    ends = np.searchsorted(owners, np.unique(docnos), side="right")
    parts = [np.arange(first, end) for first, end in zip(firsts, ends, strict=True)]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _share_of_words(scores: Scores) -> Scores:
    """BM25 scores from 0, which is no word in common, to the best one, 1."""
    return scores / scores.max() if len(scores) and scores.max() > 0 else scores


def _ranks(scores: Scores, listed: Scores) -> Scores:
    """Per score its rank in a list, from 1; equal scores have the same rank."""
    better = len(listed) - np.searchsorted(np.sort(listed), scores, side="right")
    return (1 + better).astype(np.float64)
