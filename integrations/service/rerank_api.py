"""Reranking as Cohere (v1 and v2) and Jina know it: texts in no index, scored by MaxSim."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ...engine.encoder.base import Encoder
from ...engine.errors import InvalidDocumentError, InvalidParameterError
from ...engine.reranking import score_texts
from .context import check_count, key_of, service_of
from .models_served import encoder_named
from .routing import Body, answer, router

routes = router("rerank")


class TextDocument(BaseModel):
    """A text with other fields, which come back with it; `id`, if there is one, always does."""

    model_config = ConfigDict(extra="allow", strict=True)

    text: str


class Rerank(Body):
    """Texts to be ordered by how well they answer a query."""

    model: str = Field(max_length=512, description="The service's encoder, or a collection.")
    query: str
    documents: list[str | TextDocument] = Field(min_length=1)
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False


class RerankV1(Rerank):
    """The same, with what Cohere's first version sends."""

    rank_fields: list[str] | None = Field(None, description='Only ["text"] is known.')


class RerankV2(Rerank):
    """The same, with what Cohere's second version sends."""

    priority: int | None = Field(None, ge=0, le=999, description="Has no effect.")


class Ranked(BaseModel):
    """One of the documents: its place in the request, and the mean cosine of what it matched."""

    index: int
    relevance_score: float
    id: Any = None
    document: dict[str, Any] | None = None


class Reranked(BaseModel):
    """Documents, best first."""

    id: str
    model: str
    results: list[Ranked]
    meta: dict[str, Any]


@routes.post("/v1/rerank", response_model=Reranked, response_model_exclude_none=True)
async def rerank_v1(body: RerankV1, request: Request) -> Response:
    """Order texts by how well they answer a query (Cohere's v1, Jina)."""
    if body.rank_fields not in (None, ["text"]):
        raise InvalidParameterError('rank_fields can only be ["text"]: put the others into it.')
    return await _rerank(body, request, "1")


@routes.post("/v2/rerank", response_model=Reranked, response_model_exclude_none=True)
async def rerank_v2(body: RerankV2, request: Request) -> Response:
    """Order texts by how well they answer a query (Cohere's v2)."""
    return await _rerank(body, request, "2")


async def _rerank(body: Rerank, request: Request, version: str) -> Response:
    service = service_of(request)
    check_count("documents", len(body.documents), service.limits.texts)
    texts = [d if isinstance(d, str) else d.text for d in body.documents]
    service.check_characters([body.query, *texts])
    encoder = await service.lanes.help(encoder_named, service, key_of(request), body.model)
    scores = await service.lanes.write(_relevance, encoder, body.query, texts)
    order = sorted(range(len(texts)), key=lambda n: (-scores[n], n))
    results = [_shown(n, scores[n], body) for n in order[: body.top_n]]
    meta = {"api_version": {"version": version}, "billed_units": {"search_units": 0}}
    id = request.state.request_id
    return answer({"id": id, "model": body.model, "results": results, "meta": meta})


def _relevance(encoder: Encoder, query: str, texts: list[str]) -> list[float]:
    """The mean cosine of the query's vectors and what they matched, 0 to 1."""
    for number, text in enumerate(texts):
        if "\0" in text:
            raise InvalidDocumentError(f"Document {number} holds a NUL character: remove it.")
    scores = score_texts(encoder, query, texts)
    n_vectors = len(encoder.encode_queries([query])[0])
    return [min(max(float(score) / n_vectors, 0.0), 1.0) for score in scores]


def _shown(number: int, score: float, body: Rerank) -> dict[str, Any]:
    shown: dict[str, Any] = {"index": number, "relevance_score": score}
    document = body.documents[number]
    fields = {"text": document} if isinstance(document, str) else document.model_dump()
    if "id" in fields:
        shown["id"] = fields["id"]
    if body.return_documents:
        shown["document"] = fields
    return shown
