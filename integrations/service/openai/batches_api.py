"""Files that are put into a vector store together."""

from __future__ import annotations

import time
from typing import Any

from fastapi import Request, Response

from ....engine.errors import InvalidParameterError
from ..context import Service
from ..names import is_name, new_id
from ..problems import Refusal
from ..records import Record, read_record, write_record
from ..routing import answer, router
from .attaching import new_record, shown_attached
from .attachments_api import Status, require, require_store
from .ingesting import CANCELLED, IN_PROGRESS, attach, begin, counts
from .models import NewAttachment, NewBatch
from .pages import Cursor, Limit, Order, page, shown_page

routes = router("vector stores", openai=True, prefix="/v1/vector_stores/{vector_store_id}")


@routes.post("/file_batches")
async def create_batch(vector_store_id: str, body: NewBatch, request: Request) -> Response:
    """Begin to put files into a vector store."""
    service = require(request, vector_store_id, write=True)

    def work() -> dict[str, Any]:
        require_store(service, vector_store_id)
        records = [new_record(service, request, file) for file in _files(body)]
        batch: Record = {
            "id": new_id("vsfb_"),
            "created_at": int(time.time()),
            "files": [record["id"] for record in records],
        }
        write_record(service.records.batch(vector_store_id, batch["id"]), batch)
        for record in records:
            attach(service, vector_store_id, record)
        return _shown(service, vector_store_id, batch)

    return answer(await service.lanes.help(work))


def _files(body: NewBatch) -> list[NewAttachment]:
    if (body.file_ids is None) == (body.files is None):
        raise InvalidParameterError("Pass either `file_ids` or `files`.")
    if body.files is not None:
        if body.attributes is not None or body.chunking_strategy is not None:
            raise InvalidParameterError("Where there are `files`, each has its own attributes.")
        files = body.files
    else:
        files = [
            NewAttachment(
                file_id=id, attributes=body.attributes, chunking_strategy=body.chunking_strategy
            )
            for id in body.file_ids or []
        ]
    if len({file.file_id for file in files}) != len(files):
        raise InvalidParameterError("A file stands twice in the batch.")
    return files


@routes.get("/file_batches/{batch_id}")
async def retrieve_batch(vector_store_id: str, batch_id: str, request: Request) -> Response:
    """How far a batch is."""
    service = require(request, vector_store_id)

    def work() -> dict[str, Any]:
        batch = _found(service, vector_store_id, batch_id)
        return _shown(service, vector_store_id, batch)

    return answer(await service.lanes.help(work))


@routes.post("/file_batches/{batch_id}/cancel")
async def cancel_batch(vector_store_id: str, batch_id: str, request: Request) -> Response:
    """Give up what of a batch has not been done."""
    service = require(request, vector_store_id, write=True)

    def cancelled(record: Record) -> Record | None:
        return {**record, "status": CANCELLED} if record["status"] == IN_PROGRESS else None

    def work() -> dict[str, Any]:
        batch = _found(service, vector_store_id, batch_id)
        for id in batch["files"]:
            path = service.records.attached(vector_store_id, id)
            service.records.change(vector_store_id, path, cancelled)
        return _shown(service, vector_store_id, batch)

    return answer(await service.lanes.help(work))


@routes.get("/file_batches/{batch_id}/files")
async def list_batch(
    vector_store_id: str,
    batch_id: str,
    request: Request,
    limit: Limit = 20,
    order: Order = "desc",
    after: Cursor = None,
    before: Cursor = None,
    filter: Status = None,
) -> Response:
    """List the files of a batch."""
    service = require(request, vector_store_id)

    def work() -> dict[str, Any]:
        found = _members(service, vector_store_id, _found(service, vector_store_id, batch_id))
        wanted = [record for record in found if filter in (None, record["status"])]
        some, more = page(wanted, limit=limit, order=order, after=after, before=before)
        return shown_page([shown_attached(vector_store_id, record) for record in some], more)

    return answer(await service.lanes.help(work))


def _found(service: Service, store: str, id: str) -> Record:
    require_store(service, store)
    record = read_record(service.records.batch(store, id)) if is_name(id) else None
    if record is None:
        raise Refusal(404, "batch_not_found", f"There is no batch {id[:80]!r} in {store!r}.")
    return record


def _members(service: Service, store: str, batch: Record) -> list[Record]:
    records = [read_record(service.records.attached(store, id)) for id in batch["files"]]
    return [record for record in records if record is not None]


def _shown(service: Service, store: str, batch: Record) -> dict[str, Any]:
    members = _members(service, store, batch)
    found = counts(members)
    for record in members:
        if record["status"] == IN_PROGRESS:
            begin(service, store, record["id"])
    status = "completed"
    if found[IN_PROGRESS]:
        status = IN_PROGRESS
    elif found[CANCELLED]:
        status = CANCELLED
    elif found["failed"] == found["total"] and found["total"]:
        status = "failed"
    return {
        "id": batch["id"],
        "object": "vector_store.files_batch",
        "created_at": batch["created_at"],
        "vector_store_id": store,
        "status": status,
        "file_counts": found,
    }
