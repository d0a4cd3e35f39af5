"""Searches: one query or many, and what a score is made of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response

from ....engine.documents import Hit
from ....engine.errors import InvalidQueryError
from ....engine.index import Index
from ..collections import Collection
from ..context import Service, check_count, service_of
from ..encoders import FloatArray
from ..metrics import metrics
from ..problems import Refusal
from ..routing import answer, lines, router, timed
from .documents_api import no_document
from .models import BatchSearch, Explain, Explained, Found, FoundBatch, OneQuery, Parameters, Search

routes = router("search", prefix="/v1/collections/{collection}")

ALL_FIELDS: Final = ("text", "metadata", "passage")


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found.

    Args:
        generation: that was searched.
        results: hits of each query.
        seconds: the engine's own time.
    """

    generation: int
    results: list[list[Hit]]
    seconds: float


@routes.post("/search", response_model=Found)
async def search(collection: str, body: Search, request: Request) -> Response:
    """The best k documents for a text, or for ready-made embeddings, best first."""
    service = service_of(request)
    _check_k(service, body.k, 1)
    async with service.using(request, collection) as found:
        vectors = await service.vectors(found, [_query(body.query, body.embeddings)])
        words = [body.query if body.query_text is None else body.query_text]
        done = await run(service, found, vectors, body, words)
    fields = ALL_FIELDS if body.fields is None else tuple(body.fields)
    if body.stream:
        return lines(shown_hit(hit, fields) for hit in done.results[0])
    hits = [shown_hit(hit, fields) for hit in done.results[0]]
    return timed(answer({"generation": done.generation, "hits": hits}), done.seconds)


@routes.post("/search/batch", response_model=FoundBatch)
async def search_batch(collection: str, body: BatchSearch, request: Request) -> Response:
    """Several queries on one generation; their texts are encoded together."""
    service = service_of(request)
    check_count("queries", len(body.queries), service.limits.queries)
    _check_k(service, body.k, len(body.queries))
    queries = [
        _query(query.query, query.embeddings) if isinstance(query, OneQuery) else (query, None)
        for query in body.queries
    ]
    words = [
        query.query_text if isinstance(query, OneQuery) and query.query_text is not None else text
        for query, (text, _) in zip(body.queries, queries, strict=True)
    ]
    fields = ALL_FIELDS if body.fields is None else tuple(body.fields)
    async with service.using(request, collection) as found:
        vectors = await service.vectors(found, queries)
        done = await run(service, found, vectors, body, words)
    if body.stream:
        return lines(
            {"query": n, "hits": [shown_hit(hit, fields) for hit in hits]}
            for n, hits in enumerate(done.results)
        )
    shown = [[shown_hit(hit, fields) for hit in hits] for hits in done.results]
    content = {"generation": done.generation, "results": shown}
    return timed(answer(content), done.seconds)


async def run(
    service: Service,
    collection: Collection,
    vectors: list[FloatArray],
    body: Parameters,
    words: Sequence[str | None],
) -> Searched:
    """Search in a thread."""
    plan = {"filter": body.filter, **body.plan()}

    def work(threads: int) -> Searched:
        return search_on(collection.index, vectors, body.k, {**plan, "threads": threads}, words)

    return await service.lanes.search(work)


def search_on(
    index: Index,
    vectors: list[FloatArray],
    k: int,
    plan: dict[str, Any],
    words: Sequence[str | None],
) -> Searched:
    """Search one generation.

    Args:
        index: of the collection.
        vectors: of each query.
        k: hits of each.
        plan: filter and parameters.
        words: of each query, for BM25 where that is asked for.
    """
    hybrid = plan.get("hybrid") is not None
    started = time.perf_counter()
    with index.snapshot() as view:
        if len(vectors) == 1:
            text = words[0] if hybrid else None
            found = [view.search(vectors[0], k, query_text=text, **plan)]
        else:
            texts = words if hybrid else None
            # One thread each: the batch spreads them by itself.
            found = view.search_batch(vectors, k, query_texts=texts, **{**plan, "threads": 1})
        seconds = time.perf_counter() - started
        metrics().search_seconds.observe(seconds)
        return Searched(view.generation, found, seconds)


@routes.post("/explain", response_model=Explained)
async def explain(collection: str, body: Explain, request: Request) -> Response:
    """Which token of a document's best passage each query token matched, and what it gave."""
    service = service_of(request)
    text, embeddings = _query(body.query, body.embeddings)
    async with service.using(request, collection) as found:
        vectors = await service.vectors(found, [(text, embeddings)])

        def work(_: int) -> Any:
            with found.index.snapshot() as view:
                if view.get([body.id])[0] is None:
                    raise no_document(body.id)
                return view.explain(vectors[0] if text is None else text, body.id)

        explanation = await service.lanes.search(work)
    matches = [
        {
            "query_token": match.query_token.text,
            "passage_token": match.passage_token.text,
            "start": match.start,
            "end": match.end,
            "contribution": match.contribution,
        }
        for match in explanation.matches
    ]
    return answer({"total": explanation.total, "matches": matches})


def _query(text: str | None, embeddings: Any) -> tuple[str | None, Any]:
    if (text is None) == (embeddings is None):
        raise InvalidQueryError("A query is either a text (`query`) or `embeddings`.")
    return text, embeddings


def _check_k(service: Service, k: int, n_queries: int) -> None:
    limits = service.limits
    if k > limits.k:
        raise Refusal(
            400, "invalid_parameter", f"k is {k:,}; at most {limits.k:,} are allowed.", param="k"
        )
    if k * n_queries > limits.hits:
        raise Refusal(
            400,
            "invalid_parameter",
            f"{n_queries:,} queries of {k:,} hits each are {k * n_queries:,} hits; one request has "
            f"at most {limits.hits:,}.",
            param="k",
        )


def shown_hit(hit: Hit, fields: tuple[str, ...]) -> dict[str, Any]:
    """A hit as the API shows it."""
    shown: dict[str, Any] = {"id": hit.id, "score": hit.score}
    if "text" in fields:
        shown["text"] = hit.text
    if "metadata" in fields:
        shown["metadata"] = hit.metadata
    if "passage" in fields:
        passage = hit.passage
        shown["passage"] = {
            "ordinal": passage.ordinal,
            "start": passage.start,
            "end": passage.end,
            "text": passage.text,
        }
    return shown
