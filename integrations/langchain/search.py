"""Searching for adapters: any number of queries, encoded together, on one generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from numpy.typing import NDArray

from ...engine.documents import Hit
from ...engine.errors import InvalidQueryError, WeftError
from ...engine.index import Index
from ...engine.validation import check_query_text
from ...engine.view import IndexView
from .documents import from_hit
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for a query, best first.

    Args:
        documents: as they were added, with what the settings asked for.
        scores: MaxSim of each, or what a hybrid search made of it.
        highest: no score is higher: the number of the query's vectors, or what fusion gives.
    """

    documents: list[Document]
    scores: list[float]
    highest: float

    @property
    def relevance(self) -> list[float]:
        """Scores from 0 to 1: the mean cosine of the query's vectors and what they matched.

        Of a hybrid search: the share of the highest score that there can be.
        """
        return [min(max(score / self.highest, 0.0), 1.0) for score in self.scores]


Outcome = Answer | WeftError
"""What comes of a query: its answer, or the error that concerns it alone."""


def answer(index: Index, query: str, settings: Settings) -> Answer:
    """Answer one query, or raise what keeps it from being answered."""
    outcome = answer_all(index, [query], [settings])[0]
    if isinstance(outcome, WeftError):
        raise outcome
    return outcome


def answer_all(
    index: Index, queries: Sequence[str], settings: Sequence[Settings | WeftError]
) -> list[Outcome]:
    """Answer queries on one generation of the index; the texts are encoded in one call.

    Args:
        index: that is searched.
        queries: texts.
        settings: one per query, or what is wrong with them; those alike are searched together.

    Raises:
        WeftError: what concerns all of the queries.
    """
    outcomes: dict[int, Outcome] = {}
    asked: dict[int, Settings] = {}
    for n, (query, wanted) in enumerate(zip(queries, settings, strict=True)):
        refusal = wanted if isinstance(wanted, WeftError) else _refusal(query)
        if refusal is not None:
            outcomes[n] = refusal
        elif isinstance(wanted, Settings):
            asked[n] = wanted
    if asked:
        with index.snapshot() as view:
            outcomes |= _Searching(index, view, queries).answers(asked)
    return [outcomes[n] for n in range(len(queries))]


def _refusal(query: str) -> InvalidQueryError | None:
    try:
        check_query_text(query)
    except InvalidQueryError as error:
        return error
    return None


def _groups(asked: dict[int, Settings]) -> Iterator[tuple[Settings, list[int]]]:
    """Queries by equal settings, which cannot be hashed."""
    groups: list[tuple[Settings, list[int]]] = []
    for n, settings in asked.items():
        for alike, members in groups:
            if alike == settings:
                members.append(n)
                break
        else:
            groups.append((settings, [n]))
    return iter(groups)


@dataclass(frozen=True, slots=True)
class _Searching:
    """One generation, and the queries that are put to it."""

    index: Index
    view: IndexView
    queries: Sequence[str]

    def answers(self, asked: dict[int, Settings]) -> dict[int, Outcome]:
        arrays = self.view.query_vectors([self.queries[n] for n in asked])
        vectors = dict(zip(asked, arrays, strict=True))
        outcomes: dict[int, Outcome] = {}
        for settings, members in _groups(asked):
            hits = self._search(members, [vectors[n] for n in members], settings)
            for n, found in zip(members, hits, strict=True):
                outcomes[n] = self._answer(self.queries[n], vectors[n], found, settings)
        return outcomes

    def _search(
        self, members: list[int], vectors: list[NDArray[Any]], settings: Settings
    ) -> list[list[Hit]]:
        given = {"filter": settings.filter, **settings.parameters}
        texts = None if settings.hybrid is None else [self.queries[n] for n in members]
        if len(vectors) == 1:  # one query takes all threads, several take one each
            text = None if texts is None else texts[0]
            return [self.view.search(vectors[0], settings.k, query_text=text, **given)]
        return self.view.search_batch(vectors, settings.k, query_texts=texts, **given)

    def _answer(
        self, query: str, vectors: NDArray[Any], hits: list[Hit], settings: Settings
    ) -> Outcome:
        documents = []
        for hit in hits:
            extra = self._extra(query, vectors, hit, settings)
            try:
                documents.append(from_hit(hit, passage=settings.by_passage, extra=extra))
            except WeftError as error:
                return error
        hybrid = settings.hybrid
        highest = len(vectors) if hybrid is None else hybrid.highest
        return Answer(documents, [hit.score for hit in hits], highest)

    def _extra(
        self, query: str, vectors: NDArray[Any], hit: Hit, settings: Settings
    ) -> dict[str, Any]:
        """What the settings ask to have in the metadata."""
        extra: dict[str, Any] = {}
        if settings.score_key is not None:
            extra[settings.score_key] = hit.score
        if settings.passage_key is not None:
            found = hit.passage
            span = {"ordinal": found.ordinal, "start": found.start, "end": found.end}
            extra[settings.passage_key] = span
        if settings.explain_key is not None:
            extra[settings.explain_key] = self._highlights(query, vectors, hit.id)
        return extra

    def _highlights(self, query: str, vectors: NDArray[Any], id: str) -> list[dict[str, Any]]:
        """Per query token the characters of the document that it matched, and what they gave."""
        # By vectors: the query is not encoded again for each hit, and its tokens are named here.
        tokens = self.index.encoder.query_tokens(query)
        return [
            {
                "query_token": token.text,
                "token": match.passage_token.text,
                "start": match.start,
                "end": match.end,
                "contribution": match.contribution,
            }
            for token, match in zip(tokens, self.view.explain(vectors, id).matches, strict=True)
        ]
