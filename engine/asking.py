"""Answering the queries of one call: by late interaction, or together with BM25."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .documents import Hit
from .errors import InvalidInputError, InvalidParameterError, InvalidQueryError
from .hits import make_hits
from .search.bm25 import word_scores
from .search.device import Searcher
from .search.filters import parse_filter
from .search.fusion import HybridSearch
from .search.hybrid import Hybrid
from .search.pipeline import rank_checked, search_together
from .search.plan import SearchPlan, make_plan
from .search.ranking import Ranking
from .search.segments import Mask, passage_mask
from .storage.fulltext import split_words
from .storage.segment import SegmentView
from .validation import check_query_text

Words = Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is the same for all queries of a call; safe to share by threads.

    Args:
        segments: of one generation.
        plan: of the search.
        deep: of late interaction's share in a hybrid search.
        words: of each query, for a hybrid search.
        documents: per segment bool [n_documents], what a filter lets through; None for all.
        passages: the same as bool [n_passages].
    """

    segments: Sequence[SegmentView]
    plan: SearchPlan
    deep: SearchPlan
    words: Sequence[Words]
    documents: Sequence[Mask] | None
    passages: Sequence[Mask] | None

    def answer(self, vectors: NDArray[np.float32], number: int) -> list[Hit]:
        """The hits of one query, best first.

        Args:
            vectors: float32 [nq, dim], checked.
            number: of the query, in `words`.
        """
        return make_hits(self._rank(vectors, number), self.segments, self.plan.k)

    def on(self, device: Searcher | None) -> Asked:
        """The same, with shortlists by a device."""
        if self.plan.device is device:
            return self
        plan, deep = (replace(one, device=device) for one in (self.plan, self.deep))
        return replace(self, plan=plan, deep=deep)

    def together(self, queries: Sequence[NDArray[np.float32]]) -> Asked:
        """The same, with what a device finds for all these queries at once.

        Args:
            queries: float32 [nq, dim] each: the arrays that `answer` is called with.
        """
        return self.on(search_together(queries, self.segments, self.deep, self.passages))

    def _rank(self, vectors: NDArray[np.float32], number: int) -> Ranking:
        if self.plan.hybrid is None:
            return rank_checked(vectors, self.segments, self.plan, self.passages)
        by_words = word_scores(self.words[number], self.segments)
        if by_words is None:
            if any(segment.n_alive_documents for segment in self.segments):
                raise InvalidInputError(
                    "hybrid needs text, and no document of the index has any: leave it out."
                )
            return rank_checked(vectors, self.segments, self.plan, self.passages)
        fusing = HybridSearch(self.segments, self.plan.hybrid, self.plan, self.deep, by_words)
        return fusing.rank(vectors, self.documents, self.passages)


def ask(
    segments: Sequence[SegmentView],
    k: int,
    filter: Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
    queries: Sequence[Any],
    texts: Sequence[str | None],
) -> Asked:
    """Check what a call asks for, before any of its queries is encoded.

    Args:
        segments: of one generation.
        k, filter, parameters: as of `Index.search`.
        queries: texts, or vectors.
        texts: one per query: its words where they are not those of the query itself.

    Raises:
        InvalidParameterError, InvalidFilterError, InvalidQueryError: as `Index.search`.
    """
    plan = make_plan(k, **parameters)
    words = _words_asked(plan.hybrid, queries, texts)
    deep = plan
    if plan.hybrid is not None:
        deep = make_plan(max(plan.k, plan.hybrid.depth), **parameters)
    if filter is None:
        return Asked(segments, plan, deep, words, None, None)
    wanted = parse_filter(filter)
    documents = [wanted.documents(segment.passages) for segment in segments]
    pairs = zip(documents, segments, strict=True)
    return Asked(
        segments, plan, deep, words, documents, [passage_mask(mask, one) for mask, one in pairs]
    )


def _words_asked(
    hybrid: Hybrid | None, queries: Sequence[Any], texts: Sequence[str | None]
) -> list[Words]:
    """The words of each query of a hybrid search, which alone needs them."""
    if hybrid is None:
        if any(text is not None for text in texts):
            raise InvalidParameterError(
                "query_text has an effect in a hybrid search only: pass hybrid as well, or leave "
                "it out."
            )
        return []
    return [_words(query, text) for query, text in zip(queries, texts, strict=True)]


def _words(query: Any, text: str | None) -> Words:
    if text is None and not isinstance(query, str):
        raise InvalidQueryError(
            "The query is given as vectors, and hybrid needs its words as well: pass its text as "
            "query_text (query_texts in a batch)."
        )
    return split_words(check_query_text(query if text is None else text))
