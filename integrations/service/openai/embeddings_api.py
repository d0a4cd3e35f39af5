"""Embeddings, one vector per token, and the models that make them."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import Request, Response

from ....engine.encoder.base import Encoder, FloatArray
from ....engine.errors import InvalidDocumentError, InvalidParameterError
from ....engine.validation import check_query_text
from ..context import check_count, key_of, service_of
from ..models_served import encoder_named, names_served
from ..problems import Refusal
from ..routing import answer, router
from ..vectors import encoded
from .models import Embed

routes = router("embeddings", openai=True, prefix="/v1")


@routes.post("/embeddings")
async def create_embeddings(body: Embed, request: Request) -> Response:
    """Embed texts: `embedding` holds one vector per token, row after row, and `shape` says how.

    An extension of OpenAI's API, whose embeddings are one vector each: with `shape` [tokens, dim],
    `embedding` is flat, as its clients expect it.
    """
    service = service_of(request)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts:
        raise InvalidParameterError("There is no input: pass a text at least.")
    check_count("texts", len(texts), service.limits.texts)
    service.check_characters(texts)
    encoder = await service.lanes.help(encoder_named, service, key_of(request), body.model)
    dim = encoder.identity.dim
    if body.dimensions not in (None, dim):
        raise InvalidParameterError(f"This encoder has {dim} dimensions: leave the field out.")
    encode = encoder.encode_queries if body.input_type == "query" else partial(_passages, encoder)
    # Not where single queries are encoded, which would have to wait for all of these.
    arrays = await service.lanes.write(encode, [check_query_text(text) for text in texts])
    data = [_shown(n, array, body.encoding_format) for n, array in enumerate(arrays)]
    n_tokens = sum(map(len, arrays))
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return answer({"object": "list", "data": data, "model": body.model, "usage": usage})


def _passages(encoder: Encoder, texts: list[str]) -> list[FloatArray]:
    for number, spans in enumerate(encoder.split_many(texts)):
        if len(spans) > 1:
            raise InvalidDocumentError(
                f"Text {number} is longer than the encoder reads at once, which would cut it: "
                f"send its parts; the first {spans[0][1]} characters are one."
            )
    return list(encoder.encode_passages(texts))


def _shown(number: int, array: FloatArray, form: str) -> dict[str, Any]:
    flat = encoded(array) if form == "base64" else array.reshape(-1).tolist()
    shape = list(array.shape)
    return {"object": "embedding", "index": number, "embedding": flat, "shape": shape}


@routes.get("/models")
async def list_models(request: Request) -> Response:
    """List what can be named as `model`: the service's encoder, and collections."""
    service = service_of(request)
    names = await service.lanes.help(names_served, service, key_of(request))
    return answer({"object": "list", "data": [_model(name) for name in names]})


@routes.get("/models/{model}")
async def retrieve_model(model: str, request: Request) -> Response:
    """Look at a model."""
    service = service_of(request)
    if model not in await service.lanes.help(names_served, service, key_of(request)):
        raise Refusal(404, "model_not_found", f"There is no model {model[:80]!r}.", param="model")
    return answer(_model(model))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "weft"}
