"""How routes read requests and write answers: strict JSON, nothing unknown passed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from starlette.responses import StreamingResponse
from starlette.routing import Route as StarletteRoute

from .problems import Refusal, invalid_body

LINES: Final = "application/x-ndjson"

LINES_TOGETHER: Final = 64
"""Lines of a streamed answer that are sent at once."""


class Body(BaseModel):
    """A request's body: fields that are not known are refused, values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    param: str | None = None


class OpenAIErrorBody(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """Why a request was refused, as OpenAI's API tells it."""

    error: OpenAIErrorBody


class JsonRequest(Request):
    """Its JSON is parsed strictly: no NaN, no lone surrogates, bounded nesting."""

    async def json(self) -> Any:
        """The body as JSON."""
        if not hasattr(self, "_json"):
            try:
                self._json = from_json(await self.body(), allow_inf_nan=False)
            except ValueError as error:
                raise Refusal(400, "invalid_json", f"The body is no JSON: {error}.") from error
        return self._json


class Route(APIRoute):
    """A route that refuses parameters in its address that it does not know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()
        known = frozenset(field.alias for field in self.dependant.query_params)
        has_json = self.body_field is not None

        async def handle(request: Request) -> Response:
            _refuse_parameters(request, known)
            if has_json:
                _require_json(request)
            return await answer(JsonRequest(request.scope, request.receive))

        return handle


def direct(
    path: str,
    model: type[Body],
    endpoint: Callable[[str, Any, Request], Coroutine[Any, Any, Response]],
) -> StarletteRoute:
    """A route like one of `router`, without what the framework does for others at each request.

    It stands before the route that it doubles, which stays for the OpenAPI document.

    Args:
        path: with one parameter, `{collection}`.
        model: of the body.
        endpoint: called with that parameter, the body and the request.
    """

    async def handle(request: Request) -> Response:
        request.scope["route"] = route
        _refuse_parameters(request, frozenset())
        _require_json(request)
        try:
            body = model.model_validate(await JsonRequest(request.scope, request.receive).json())
        except ValidationError as error:
            raise invalid_body([dict(found) for found in error.errors()]) from error
        return await endpoint(request.path_params["collection"], body, request)

    route = StarletteRoute(path, handle, methods=["POST"])
    return route


def _refuse_parameters(request: Request, known: frozenset[str]) -> None:
    for name in request.query_params:
        if name not in known:
            raise Refusal(
                400,
                "unknown_parameter",
                f"There is no parameter {name[:80]!r}: remove it.",
                param=name[:80],
            )


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(
            415, "unsupported_media_type", "Send the body as Content-Type: application/json."
        )


def router(tag: str, *, openai: bool = False, prefix: str = "") -> APIRouter:
    """Routes that tell of their refusals in one of the two forms."""
    refusals: dict[str, Any]
    if openai:
        refusals = {"model": OpenAIError}
    else:
        schema = {"$ref": "#/components/schemas/Problem"}
        refusals = {"content": {"application/problem+json": {"schema": schema}}}
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=Route,
        responses={
            "4XX": {**refusals, "description": "Refused; the body says why."},
            "5XX": {**refusals, "description": "Not possible now; the body says why."},
        },
    )


def answer(content: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    try:
        data = orjson.dumps(content)
    except TypeError:  # whole numbers of more than 64 bits, in what a client gets back
        data = json.dumps(content).encode()
    return Response(data, status, media_type="application/json")


def timed(response: Response, seconds: float) -> Response:
    """The same, telling how long the engine took: what is beyond it is the service's."""
    response.headers["server-timing"] = f"search;dur={1000 * seconds:.3f}"
    return response


def lines(items: Iterable[Any]) -> StreamingResponse:
    """An answer of JSON lines, made in a thread while they are sent."""
    return StreamingResponse(_joined(items), media_type=LINES)


def _joined(items: Iterable[Any]) -> Iterable[bytes]:
    together: list[bytes] = []
    for item in items:
        together.append(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE))
        if len(together) == LINES_TOGETHER:
            yield b"".join(together)
            together = []
    yield b"".join(together)
