"""Files in vector stores, one by one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from ..collections import is_index, missing
from ..context import Service, service_of
from ..records import Record, records_in
from ..routing import answer, router
from .attaching import find_attached, new_record, shown_attached
from .chunks import check_attributes
from .ingesting import IN_PROGRESS, attach, begin, chunks_of, detach, rename_attributes
from .models import AttachmentUpdate, NewAttachment
from .pages import Cursor, Limit, Order, page, shown_page

routes = router("vector stores", openai=True, prefix="/v1/vector_stores/{vector_store_id}")

Status = Annotated[Literal["in_progress", "completed", "failed", "cancelled"] | None, Query()]


@routes.post("/files")
async def attach_file(vector_store_id: str, body: NewAttachment, request: Request) -> Response:
    """Begin to put a file into a vector store; retrieve it to see when it is done."""
    service = require(request, vector_store_id, write=True)

    def work() -> Record:
        require_store(service, vector_store_id)
        record = new_record(service, request, body)
        attach(service, vector_store_id, record)
        return record

    return answer(shown_attached(vector_store_id, await service.lanes.help(work)))


@routes.get("/files")
async def list_attached(
    vector_store_id: str,
    request: Request,
    limit: Limit = 20,
    order: Order = "desc",
    after: Cursor = None,
    before: Cursor = None,
    filter: Status = None,
) -> Response:
    """List the files of a vector store."""
    service = require(request, vector_store_id)

    def work() -> dict[str, Any]:
        found = _records(service, vector_store_id)
        wanted = [record for record in found if filter in (None, record["status"])]
        some, more = page(wanted, limit=limit, order=order, after=after, before=before)
        return shown_page([shown_attached(vector_store_id, record) for record in some], more)

    return answer(await service.lanes.help(work))


def _records(service: Service, store: str) -> list[Record]:
    require_store(service, store)
    return records_in(service.records.store(store) / "files")


@routes.get("/files/{file_id}")
async def retrieve_attached(vector_store_id: str, file_id: str, request: Request) -> Response:
    """How far a file of a vector store is."""
    service = require(request, vector_store_id)
    record = await service.lanes.help(_found, service, vector_store_id, file_id)
    if record["status"] == IN_PROGRESS:
        begin(service, vector_store_id, file_id)  # whoever was at it may have died
    return answer(shown_attached(vector_store_id, record))


@routes.post("/files/{file_id}")
async def update_attached(
    vector_store_id: str, file_id: str, body: AttachmentUpdate, request: Request
) -> Response:
    """Give a file of a vector store other attributes."""
    service = require(request, vector_store_id, write=True)
    attributes = check_attributes(body.attributes)

    def work() -> Record:
        _found(service, vector_store_id, file_id)
        path = service.records.attached(vector_store_id, file_id)
        service.records.change(
            vector_store_id, path, lambda found: {**found, "attributes": attributes}
        )
        record = _found(service, vector_store_id, file_id)
        rename_attributes(service, vector_store_id, record)
        return record

    return answer(shown_attached(vector_store_id, await service.lanes.write(work)))


@routes.delete("/files/{file_id}")
async def detach_file(vector_store_id: str, file_id: str, request: Request) -> Response:
    """Take a file out of a vector store; the file itself stays."""
    service = require(request, vector_store_id, write=True)

    def work() -> None:
        _found(service, vector_store_id, file_id)
        detach(service, vector_store_id, file_id)

    await service.lanes.write(work)
    return answer({"id": file_id, "object": "vector_store.file.deleted", "deleted": True})


@routes.get("/files/{file_id}/content")
async def attached_content(vector_store_id: str, file_id: str, request: Request) -> Response:
    """The text of a file's chunks, in order."""
    service = require(request, vector_store_id)

    def work() -> list[dict[str, str]]:
        _found(service, vector_store_id, file_id)
        chunks = chunks_of(service, vector_store_id, file_id)
        return [{"type": "text", "text": chunk.text} for chunk in chunks]

    data = await service.lanes.help(work)
    kind = "vector_store.file_content.page"
    return answer({"object": kind, "data": data, "has_more": False, "next_page": None})


def _found(service: Service, store: str, file: str) -> Record:
    require_store(service, store)
    return find_attached(service, store, file)


def require(request: Request, store: str, *, write: bool = False) -> Service:
    """The service, where the request's key opens a vector store."""
    service = service_of(request)
    service.require(request, store, write=write)
    service.collections.require_many()
    return service


def require_store(service: Service, store: str) -> None:
    """Raise unless there is such a vector store."""
    if not is_index(service.collections.path(store)):
        raise missing(store)
