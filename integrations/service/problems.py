"""What refused requests get: a status, a code for programs and a sentence for people.

Routes of OpenAI's API answer in OpenAI's form, all others in that of RFC 9457.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...engine import errors

logger = logging.getLogger("weft.service")

OPENAI_ROUTES: Final = ("/v1/vector_stores", "/v1/files", "/v1/embeddings", "/v1/models")

UNREAD: Final = frozenset({401, 403, 408, 413, 415})
"""Statuses that may come before a body was read; its rest is not waited for."""

RETRY: Final = {"retry-after": "1"}

_STATUS: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (errors.DuplicateDocumentError, 409, "duplicate_document"),
    (errors.DimensionMismatchError, 400, "dimension_mismatch"),
    (errors.InvalidDocumentError, 400, "invalid_document"),
    (errors.InvalidEmbeddingError, 400, "invalid_embedding"),
    (errors.InvalidQueryError, 400, "invalid_query"),
    (errors.InvalidParameterError, 400, "invalid_parameter"),
    (errors.InvalidFilterError, 400, "invalid_filter"),
    (errors.InvalidInputError, 400, "invalid_input"),
    (errors.IndexReplacedError, 409, "collection_replaced"),
    (errors.IndexNotFoundError, 404, "collection_not_found"),
    (errors.IndexExistsError, 409, "collection_exists"),
    (errors.MissingDependencyError, 501, "missing_dependency"),
    (errors.EncoderError, 503, "encoder_unavailable"),
    (errors.DeviceError, 503, "device_unavailable"),
    (errors.UnsupportedFormatError, 503, "unsupported_format"),
    (errors.CorruptIndexError, 500, "corrupt_index"),
    (errors.QueueFullError, 503, "queue_full"),
    (errors.CommitUncertainError, 503, "commit_uncertain"),
    (errors.StorageError, 503, "storage_unavailable"),
    (errors.SnapshotClosedError, 503, "closing"),
    (errors.WeftError, 500, "internal_error"),
)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Refusal(HTTPException):
    """A request that is not answered.

    Args:
        status: HTTP status, 400 to 599.
        code: for programs, in snake_case.
        detail: for people: what is wrong and what helps.
        param: the field that it is about.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code
        self.param = param

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.status_code


def refusal_of(error: Exception, root: str) -> Refusal:
    """What to answer where the engine raised.

    Args:
        error: raised on purpose, or by the operating system.
        root: path of the service's folder, which clients need not know.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return _of_framework(error)
    detail = str(error).replace(root, "…")
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and number in _FULL:
        return Refusal(507, "storage_full", detail)
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            headers = RETRY if status == 503 else {}
            return Refusal(status, code, detail, headers=headers)
    if isinstance(error, OSError):
        return Refusal(503, "storage_unavailable", detail, headers=RETRY)
    return Refusal(500, "internal_error", "The service failed; its log says why.")


def _of_framework(error: HTTPException) -> Refusal:
    """What the framework refuses by itself: no such route, no such method, a broken form."""
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    detail = {
        404: "There is no such route: /openapi.json lists them.",
        405: "The route does not know this method: see /openapi.json.",
    }.get(error.status_code, str(error.detail))
    return Refusal(error.status_code, code, detail, headers=error.headers)


def render(refusal: Refusal, path: str, request_id: str) -> Response:
    """The answer, in the form that the route's clients expect."""
    detail = refusal.detail.encode("utf-8", "replace").decode()
    if path.startswith(OPENAI_ROUTES):
        kind = "invalid_request_error" if refusal.status < 500 else "server_error"
        content: dict[str, Any] = {
            "error": {
                "message": detail,
                "type": kind,
                "param": _printable(refusal.param),
                "code": refusal.code,
            }
        }
        media_type = "application/json"
    else:
        content = {
            "type": "about:blank",
            "title": HTTPStatus(refusal.status).phrase,
            "status": refusal.status,
            "code": refusal.code,
            "detail": detail,
            "request_id": request_id,
        }
        if refusal.param is not None:
            content["param"] = _printable(refusal.param)
        media_type = "application/problem+json"
    headers = dict(refusal.headers or {})
    if refusal.status in UNREAD:
        headers["connection"] = "close"
    return Response(orjson.dumps(content), refusal.status, headers=headers, media_type=media_type)


def _printable(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()


async def answer_error(request: Request, error: Exception) -> Response:
    """The handler of whatever a route raised."""
    refusal = refusal_of(error, request.app.state.service.shown_root)
    if refusal.status >= 500:
        told = {"request_id": request.state.request_id}
        logger.error("%s", refusal.detail, extra={"fields": told}, exc_info=error)
    return render(refusal, request.url.path, request.state.request_id)


def invalid_body(found: list[dict[str, Any]]) -> Refusal:
    """What to answer where fields are missing, unknown or of another type.

    Args:
        found: errors as pydantic tells them.
    """
    parts = [_told(error) for error in found[:5]]
    more = f" And {len(found) - 5} more." if len(found) > 5 else ""
    where = _place(found[0]) if found else ""
    return Refusal(400, "invalid_request", " ".join(parts) + more, param=where or None)


def _told(error: Mapping[str, Any]) -> str:
    place = _place(error)
    if error.get("type") == "extra_forbidden":
        return f"There is no field {place!r}: remove it."
    return f"{place or 'The request'}: {error.get('msg', 'cannot be used')}."


def _place(error: Mapping[str, Any]) -> str:
    parts = [str(part)[:80] for part in error.get("loc", ())]
    if parts and parts[0] in ("body", "query", "path", "header"):
        parts = parts[1:]
    return ".".join(parts)
