"""Searching a vector store, its own chunks or any collection's documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from ....engine.documents import Hit
from ....engine.errors import InvalidParameterError, InvalidQueryError
from ..context import check_count, service_of
from ..native.search_api import Searched, search_on
from ..routing import answer, router, timed
from .chunks import MARK
from .filters import translated
from .models import RankingOptions, StoreSearch

routes = router("vector stores", openai=True, prefix="/v1/vector_stores/{vector_store_id}")


@routes.post("/search")
async def search_vector_store(
    vector_store_id: str, body: StoreSearch, request: Request
) -> Response:
    """The best chunks for a query, or for several queries together, best first.

    A score is the mean cosine of the query's vectors and what they matched, 0 to 1.
    """
    service = service_of(request)
    queries = [body.query] if isinstance(body.query, str) else body.query
    if not queries:
        raise InvalidQueryError("There is no query: pass one at least.")
    check_count("queries", len(queries), service.limits.queries)
    filter = None if body.filters is None else translated(body.filters)
    async with service.using(request, vector_store_id) as found:
        vectors = await service.vectors(found, [(query, None) for query in queries])

        weight = _weight(body.ranking_options)
        plan = {"filter": filter, **({} if weight is None else {"hybrid": weight})}

        def work(threads: int) -> Searched:
            k, given = body.max_num_results, {**plan, "threads": threads}
            return search_on(found.index, vectors, k, given, queries)

        done = await service.lanes.search(work)
    # Of MaxSim no score exceeds the number of vectors, and of a weighted fusion none exceeds 1.
    highest = [len(array) if weight is None else 1 for array in vectors]
    ranked = _together(highest, done.results, _least(body.ranking_options))
    content = {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": [_shown(*pair) for pair in ranked[: body.max_num_results]],
        "has_more": False,
        "next_page": None,
    }
    return timed(answer(content), done.seconds)


def _least(options: RankingOptions | None) -> float:
    return 0.0 if options is None else options.score_threshold or 0.0


def _weight(options: RankingOptions | None) -> float | None:
    """Of late interaction in a hybrid search; None for no such search."""
    if options is None or options.hybrid_search is None:
        return None
    weights = options.hybrid_search
    total = weights.embedding_weight + weights.text_weight
    if not total:
        raise InvalidParameterError("One of the weights of hybrid_search must be above 0.")
    return weights.embedding_weight / total


def _together(
    highest: list[int], results: list[list[Hit]], least: float
) -> list[tuple[float, Hit]]:
    """Hits of all queries in one ranking, each with the best of its scores, 0 to 1."""
    best: dict[str, tuple[float, Hit]] = {}
    for most, hits in zip(highest, results, strict=True):
        for hit in hits:
            score = min(max(hit.score / most, 0.0), 1.0)
            if score >= least and score > best.get(hit.id, (-1.0, hit))[0]:
                best[hit.id] = (score, hit)
    return sorted(best.values(), key=lambda pair: (-pair[0], -pair[1].score, pair[1].id))


def _shown(score: float, hit: Hit) -> dict[str, Any]:
    mark = hit.metadata.get(MARK)
    if isinstance(mark, Mapping) and {"id", "name"} <= set(mark):
        file, name, text = str(mark["id"]), str(mark["name"]), hit.text
    else:  # a document that came by Weft's own API
        named = hit.metadata.get("filename", hit.metadata.get("path", hit.id))
        file, name, text = hit.id, str(named), hit.passage.text
    attributes = {
        key: value
        for key, value in hit.metadata.items()
        if key != MARK and isinstance(value, str | int | float | bool)
    }
    return {
        "file_id": file,
        "filename": name,
        "score": score,
        "attributes": attributes,
        "content": [{"type": "text", "text": text}],
    }
