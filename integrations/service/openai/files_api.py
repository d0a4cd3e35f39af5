"""Files: upload, list, look at, read, delete."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.responses import FileResponse

from ..context import service_of
from ..problems import Refusal
from ..routing import answer, router
from .ingesting import detach, stores_with
from .pages import Cursor, Order, page, shown_page
from .uploads import all_files, drop, keep, require_file, shown_file

routes = router("files", openai=True, prefix="/v1/files")

PURPOSES: Final = ("assistants", "user_data")

FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                    },
                }
            }
        },
    }
}

CONTENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
}


@routes.post("", openapi_extra=FORM)
async def upload_file(request: Request) -> Response:
    """Upload a file: text, Markdown, HTML, PDF, JSON lines or tables."""
    service = service_of(request)
    if not request.state.key.write:
        raise Refusal(403, "forbidden", "This key may only read.")
    service.collections.require_many()
    try:
        async with request.form(max_files=1, max_fields=4) as form:
            upload, purpose = _checked(dict(form))
            name = (upload.filename or "file")[-255:].replace("\0", "")
            record = await service.lanes.help(
                keep, service, upload.file, name, purpose, request.state.key.sha256
            )
    except MultiPartException as error:
        raise Refusal(400, "invalid_form", f"The form cannot be read: {error.message}.") from error
    return answer(shown_file(record))


def _checked(form: dict[str, Any]) -> tuple[UploadFile, str]:
    unknown = sorted(set(form) - {"file", "purpose"})
    if unknown:
        raise Refusal(
            400, "invalid_request", f"There is no field {unknown[0][:80]!r}: remove it.", param=None
        )
    upload, purpose = form.get("file"), form.get("purpose")
    if not isinstance(upload, UploadFile):
        raise Refusal(
            400, "invalid_request", "Send multipart/form-data with a `file`.", param="file"
        )
    if purpose not in PURPOSES:
        known = " or ".join(PURPOSES)
        raise Refusal(400, "invalid_request", f"purpose must be {known}.", param="purpose")
    return upload, str(purpose)


@routes.get("")
async def list_files(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Order = "desc",
    after: Cursor = None,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """List the files that the key may see."""
    service = service_of(request)

    def work() -> dict[str, Any]:
        files = all_files(service, request)
        wanted = [file for file in files if purpose in (None, file["purpose"])]
        some, more = page(wanted, limit=limit, order=order, after=after)
        return shown_page([shown_file(record) for record in some], more)

    return answer(await service.lanes.help(work))


@routes.get("/{file_id}")
async def retrieve_file(file_id: str, request: Request) -> Response:
    """Look at a file."""
    service = service_of(request)
    return answer(shown_file(await service.lanes.help(require_file, service, request, file_id)))


@routes.get("/{file_id}/content", response_class=Response, responses=CONTENT)
async def file_content(file_id: str, request: Request) -> Response:
    """The bytes of a file."""
    service = service_of(request)
    await service.lanes.help(require_file, service, request, file_id)
    path = service.records.file(file_id) / "content"
    # Never as what it calls itself: a browser must not run it as a page of this service.
    return FileResponse(path, media_type="application/octet-stream")


@routes.delete("/{file_id}")
async def delete_file(file_id: str, request: Request) -> Response:
    """Delete a file, and take it out of the vector stores that it is in."""
    service, key = service_of(request), request.state.key
    await service.lanes.help(require_file, service, request, file_id)

    def work() -> None:
        stores = stores_with(service, file_id)
        if not key.write or not all(key.opens(store, write=True) for store in stores):
            raise Refusal(403, "forbidden", "This key may not change all that the file is in.")
        for store in stores:
            detach(service, store, file_id)
        drop(service, file_id)

    await service.lanes.write(work)
    return answer({"id": file_id, "object": "file", "deleted": True})
