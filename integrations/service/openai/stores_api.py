"""Vector stores: collections under the names and with the metadata that OpenAI's API gives them."""

from __future__ import annotations

import time
from typing import Any

from fastapi import Request, Response

from ..collections import is_index, missing
from ..context import Service, key_of, service_of
from ..names import new_id
from ..records import Record, read_record, records_in, write_record
from ..routing import answer, router
from .attaching import new_record
from .ingesting import IN_PROGRESS, attach, counts
from .models import NewAttachment, NewStore, StoreUpdate
from .pages import Cursor, Limit, Order, page, shown_page

routes = router("vector stores", openai=True, prefix="/v1/vector_stores")


@routes.post("")
async def create_vector_store(body: NewStore, request: Request) -> Response:
    """Make a vector store, and begin to put files into it."""
    service = service_of(request)
    service.require_all(request)
    return answer(await service.lanes.write(_create, service, body, request))


def _create(service: Service, body: NewStore, request: Request) -> Record:
    service.collections.require_many()
    wanted = [
        NewAttachment(file_id=file, chunking_strategy=body.chunking_strategy)
        for file in dict.fromkeys(body.file_ids or [])
    ]
    records = [new_record(service, request, attachment) for attachment in wanted]
    name = new_id("vs_")
    service.collections.create(name)
    store = {
        "id": name,
        "name": body.name or "",
        "description": body.description,
        "metadata": body.metadata or {},
        "created_at": int(time.time()),
    }
    write_record(service.records.store(name) / "store.json", store)
    for record in records:
        attach(service, name, record)
    return shown_store(service, name)


@routes.get("")
async def list_vector_stores(
    request: Request,
    limit: Limit = 20,
    order: Order = "desc",
    after: Cursor = None,
    before: Cursor = None,
) -> Response:
    """List the vector stores, and all other collections, that the key opens."""
    service, key = service_of(request), key_of(request)

    def work() -> dict[str, Any]:
        names = [n for n in service.collections.names() if key.opens(n, write=False)]
        stores = [_about(service, name) for name in names]
        some, more = page(stores, limit=limit, order=order, after=after, before=before)
        return shown_page([shown_store(service, store["id"]) for store in some], more)

    return answer(await service.lanes.help(work))


@routes.get("/{vector_store_id}")
async def retrieve_vector_store(vector_store_id: str, request: Request) -> Response:
    """Look at a vector store."""
    service = service_of(request)
    service.require(request, vector_store_id)
    return answer(await service.lanes.help(shown_store, service, vector_store_id))


@routes.post("/{vector_store_id}")
async def update_vector_store(
    vector_store_id: str, body: StoreUpdate, request: Request
) -> Response:
    """Change a vector store's name or metadata."""
    service = service_of(request)
    service.require(request, vector_store_id, write=True)
    service.collections.require_many()
    changes = {
        field: value
        for field, value in (("name", body.name), ("metadata", body.metadata))
        if field in body.model_fields_set
    }
    if changes.get("name", "") is None:
        changes["name"] = ""

    def work() -> Record:
        path = service.records.store(vector_store_id) / "store.json"
        with service.records.locked(vector_store_id):
            about = _about(service, vector_store_id)
            write_record(path, {**about, **changes})
        return shown_store(service, vector_store_id)

    return answer(await service.lanes.help(work))


@routes.delete("/{vector_store_id}")
async def delete_vector_store(vector_store_id: str, request: Request) -> Response:
    """Remove a vector store with all that is in it; the files that were uploaded stay."""
    service = service_of(request)
    service.require(request, vector_store_id, write=True)
    service.require_all(request)
    await service.lanes.admin(service.collections.delete, vector_store_id)
    return answer({"id": vector_store_id, "object": "vector_store.deleted", "deleted": True})


def _about(service: Service, name: str) -> Record:
    """What is recorded of a vector store; collections made otherwise have their name and age."""
    record = read_record(service.records.store(name) / "store.json")
    if record is not None:
        return record
    path = service.collections.path(name)
    if not is_index(path):
        raise missing(name)
    created = int(path.stat().st_ctime)
    about: Record = {"id": name, "name": name, "description": None, "metadata": {}}
    return {**about, "created_at": created}


def shown_store(service: Service, name: str) -> Record:
    """A vector store as the API shows it."""
    if not is_index(service.collections.path(name)):
        raise missing(name)
    about = _about(service, name)
    files = records_in(service.records.store(name) / "files")
    found = counts(files)
    return {
        "id": name,
        "object": "vector_store",
        "created_at": about["created_at"],
        "name": about["name"],
        "description": about["description"],
        "usage_bytes": sum(record["usage_bytes"] for record in files),
        "file_counts": found,
        "status": "in_progress" if found[IN_PROGRESS] else "completed",
        "expires_after": None,
        "expires_at": None,
        "last_active_at": about["created_at"],
        "metadata": about["metadata"] or {},
    }
