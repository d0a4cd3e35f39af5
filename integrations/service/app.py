"""The application: all routes behind the gate."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from ... import __version__
from ...engine.errors import WeftError
from ...engine.identity import EncoderLike
from . import health, rerank_api
from .context import Service
from .gate import Gate
from .maintenance import Maintenance
from .metrics import metrics
from .native import collections_api, documents_api, search_api
from .native.models import BatchSearch, Search
from .openai import (
    attachments_api,
    batches_api,
    embeddings_api,
    files_api,
    stores_api,
)
from .openai import search_api as store_search_api
from .openai.ingesting import resume
from .openai.models import StoreSearch
from .problems import answer_error, invalid_body
from .routing import Body, Problem, direct
from .settings import ServiceSettings

logger = logging.getLogger("weft.service")

DESCRIPTION = """Late-interaction retrieval over HTTP. Weft's own API works on collections; OpenAI's
vector stores and files, and reranking as Cohere and Jina know it, work with their clients. See
`docs/service.md`."""

PARTS = (
    health,
    collections_api,
    documents_api,
    search_api,
    stores_api,
    attachments_api,
    batches_api,
    store_search_api,
    files_api,
    embeddings_api,
    rerank_api,
)

OFTEN: tuple[tuple[str, type[Body], Any], ...] = (
    ("/v1/collections/{collection}/search", Search, search_api.search),
    ("/v1/collections/{collection}/search/batch", BatchSearch, search_api.search_batch),
    ("/v1/vector_stores/{collection}/search", StoreSearch, store_search_api.search_vector_store),
)
"""Routes whose every tenth of a millisecond counts."""


def make_app(settings: ServiceSettings, *, encoder: EncoderLike | None = None) -> FastAPI:
    """The service as an ASGI application, for those who run it themselves.

    Args:
        settings: of the service; its root is made if it is not there.
        encoder: an encoder object for new collections, instead of `settings.encoder`.

    Raises:
        StorageError, OSError: the root cannot be made or read.
    """
    app = FastAPI(
        title="Weft",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = Service(settings, encoder)
    for path, model, endpoint in OFTEN:
        app.router.routes.append(direct(path, model, endpoint))
    for part in PARTS:
        app.include_router(part.routes)
    for kind in (WeftError, HTTPException, OSError):
        app.add_exception_handler(kind, answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_middleware(_gate, settings=settings)
    _describe_problems(app)
    return app


def _gate(app: ASGIApp, settings: ServiceSettings) -> ASGIApp:
    return Gate(app, settings)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return await answer_error(request, invalid_body(list(found)))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    maintenance = Maintenance(service)
    if service.settings.warm:
        await service.lanes.help(_warm_up, service)
    await service.lanes.help(resume, service)
    maintenance.start()
    service.ready = True
    try:
        yield
    finally:
        service.ready = False
        maintenance.stop()
        service.close()
        metrics().close()


def _warm_up(service: Service) -> None:
    """Load the encoder; a service whose encoder is missing can still search by embeddings."""
    try:
        service.encoders.default().encode_queries(["warm up"])
    except WeftError as error:
        logger.warning("The encoder cannot be loaded: %s", error)


def _describe_problems(app: FastAPI) -> None:
    """Add the form of refusals, which routes name by reference, to the OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, object]:
        document = plain()
        _, definitions = models_json_schema(
            [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(definitions.get("$defs", {}))
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}, {}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
