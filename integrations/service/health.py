"""Whether the service lives, whether it is ready, and its metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from .context import service_of
from .metrics import media_type, metrics
from .problems import RETRY, Refusal
from .routing import Route, answer

routes = APIRouter(tags=["health"], route_class=Route)

UNREADY = {"description": "It is starting or ending."}


@routes.get("/healthz", responses={200: {"description": "The process answers."}})
async def healthz() -> Response:
    """Whether the process answers; needs no key."""
    return answer({"status": "ok"})


@routes.get("/readyz", responses={503: UNREADY})
async def readyz(request: Request) -> Response:
    """Whether it can answer searches: the folder can be read, the encoder is loaded; no key."""
    service = service_of(request)
    if not service.ready:
        raise Refusal(503, "not_ready", "The service is starting or ending.", headers=RETRY)
    await service.lanes.help(service.collections.names)
    return answer({"status": "ready"})


@routes.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format, of all processes of this service."""
    text = await service_of(request).lanes.help(metrics().exposition)
    return Response(text, media_type=media_type)
