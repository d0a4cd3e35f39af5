"""The gate before all routes: request ids, keys, bounds, the log and the metrics.

It is plain ASGI: a request without a valid key is refused before a byte of its body is read.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .keys import KeyRing
from .metrics import metrics
from .problems import RETRY, Refusal, refusal_of, render
from .settings import LOOPBACK, ServiceSettings

logger = logging.getLogger("weft.service")

OPEN: Final = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs"})
"""Paths that need no key."""

UNMATCHED: Final = "(none)"
"""Stands for the route of requests that match none."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Gate:
    """Middleware around the whole application.

    Args:
        app: behind it.
        settings: keys and bounds.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._keys = KeyRing(settings.keys)
        self._anyone = settings.anyone
        self._limits = settings.limits
        self._root = str(settings.root)
        self._n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send)
        self._n_requests += 1
        metrics().in_progress.inc()
        try:
            self._admit(scope, visit)
            body = _Body(receive, self._most_bytes(scope), self._limits.body_seconds)
            await self._app(scope, body, visit.send)
        except Exception as error:  # noqa: BLE001 - the last one to turn it into an answer
            await self._answer(error, scope, receive, visit)
        finally:
            self._n_requests -= 1
            metrics().in_progress.dec()
            visit.tell()

    def _admit(self, scope: Scope, visit: _Visit) -> None:
        headers = visit.headers
        if scope["path"] not in OPEN:
            if self._n_requests > self._limits.requests:
                raise Refusal(503, "overloaded", "Too many requests at once.", headers=RETRY)
            if not self._keys:
                _refuse_strangers(headers, anyone=self._anyone)
            key = self._keys.bearer(headers.get(b"authorization"))
            if key is None:
                raise Refusal(
                    401,
                    "invalid_api_key",
                    "No valid API key: send it as Authorization: Bearer KEY.",
                    headers={"www-authenticate": "Bearer"},
                )
            scope["state"]["key"] = key
            visit.key = key.name
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._most_bytes(scope):
            raise _too_large(self._most_bytes(scope))

    def _most_bytes(self, scope: Scope) -> int:
        if scope["path"] == "/v1/files":
            return self._limits.file_bytes + 2**16
        return self._limits.body_bytes

    async def _answer(
        self, error: Exception, scope: Scope, receive: Receive, visit: _Visit
    ) -> None:
        """Turn what got through all handlers into an answer, or end the connection."""
        if visit.status:
            logger.error("An answer broke off", extra={"fields": visit.fields()}, exc_info=error)
            raise error
        refusal = refusal_of(error, self._root)
        if refusal.status >= 500 and not isinstance(error, Refusal):
            logger.error("A request failed", extra={"fields": visit.fields()}, exc_info=error)
        answer = render(refusal, scope["path"], visit.request_id)
        await answer(scope, receive, visit.send)


class _Visit:
    """One request on its way, for its log line and its metrics."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._started = time.perf_counter()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.status = 0
        self.key = ""
        given = self.headers.get(b"x-request-id", b"")
        good = _REQUEST_ID.fullmatch(given)
        self.request_id = given.decode() if good else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"cache-control", b"no-store"),
            ]
        await self._send(message)

    @property
    def route(self) -> str:
        route = self._scope.get("route")
        return str(getattr(route, "path", UNMATCHED))

    def fields(self) -> dict[str, object]:
        return {
            "request_id": self.request_id,
            "method": self._scope["method"][:16],
            "path": self._scope["path"][:200],
            "status": self.status,
            "milliseconds": round(1000 * (time.perf_counter() - self._started), 2),
            "key": self.key,
        }

    def tell(self) -> None:
        seconds = time.perf_counter() - self._started
        # Names that clients make up would be labels without an end.
        method = self._scope["method"] if self._scope["method"] in METHODS else "other"
        metrics().requests.labels(method, self.route, str(self.status)).inc()
        metrics().seconds.labels(self.route).observe(seconds)
        if logger.isEnabledFor(logging.INFO):
            logger.info("request", extra={"fields": self.fields()})


class _Body:
    """A request's body, counted and timed while it arrives."""

    def __init__(self, receive: Receive, most_bytes: int, seconds: float) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._deadline: float | None = None
        self._complete = False
        self._n_bytes = 0

    async def __call__(self) -> Message:
        if self._complete:  # what follows is the client's leaving, however late
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request":
            self._n_bytes += len(message.get("body", b""))
            if self._n_bytes > self._most_bytes:
                raise _too_large(self._most_bytes)
            self._complete = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError as error:
            raise Refusal(
                408, "body_timeout", f"The body did not arrive within {self._seconds:g} seconds."
            ) from error


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(
        413,
        "body_too_large",
        f"The body has more than {most_bytes:,} bytes: send less at a time.",
    )


def _refuse_strangers(headers: dict[bytes, bytes], *, anyone: bool) -> None:
    """Without keys, refuse what a web page elsewhere could make a browser send."""
    host = headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
        raise Refusal(
            403, "foreign_origin", "Without API keys no page of another site may ask this service."
        )
    if not anyone and _hostname(host) not in LOOPBACK:
        raise Refusal(
            403, "foreign_host", "Without API keys the service answers to localhost alone."
        )


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
