"""Documents: add, upsert, get, delete, stream; at once, or through the workers' queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain, islice
from typing import Any, Final

from fastapi import Request, Response

from ....engine.changes import AddResult
from ....engine.documents import Document
from ....engine.errors import InvalidParameterError
from ....engine.index import Index
from ....engine.validation import make_documents
from ..collections import Collection
from ..context import Service, check_count, service_of
from ..metrics import metrics
from ..problems import Refusal
from ..queueing import submit, submit_deletions
from ..routing import LINES, answer, lines, router
from ..vectors import matrix
from .models import (
    Deletion,
    Documents,
    Export,
    Ids,
    NewDocument,
    NewDocuments,
    Queued,
    Removed,
    Status,
    StoredDocument,
    Written,
)

routes = router("documents", prefix="/v1/collections/{collection}")

STREAMED_TOGETHER: Final = 100
"""Documents of a stream that are looked up at once."""

STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {LINES: {"schema": {"type": "string"}}}, "description": "JSON lines."}
}
QUEUED: Final[dict[int | str, dict[str, Any]]] = {202: {"model": Queued}}


@routes.post("/documents", status_code=201, response_model=Written)
async def add_documents(collection: str, body: NewDocuments, request: Request) -> Response:
    """Add documents in one commit; an id that is there already is refused with 409."""
    if body.queue:
        raise InvalidParameterError(
            "Only upserts can be queued, since workers cannot refuse what is there: use PUT."
        )
    return answer(asdict(await _write(collection, body, request, replace=False)), 201)


@routes.put("/documents", response_model=Written, responses=QUEUED)
async def upsert_documents(collection: str, body: NewDocuments, request: Request) -> Response:
    """Add documents, replacing those that are there, in one commit, or by way of the queue."""
    if not body.queue:
        return answer(asdict(await _write(collection, body, request, replace=True)))
    service = service_of(request)
    check_count("documents", len(body.documents), service.limits.documents)
    if any(document.embeddings is not None for document in body.documents):
        raise InvalidParameterError("Embeddings cannot be queued: leave `queue` out.")
    if any(document.id is None for document in body.documents):
        raise InvalidParameterError("Queued documents need ids, to be asked for later.")
    async with service.using(request, collection, write=True) as found:
        client = await service.queue_of(found)
        documents = [_document(document) for document in body.documents]
        return answer({"submissions": await service.lanes.help(submit, client, documents)}, 202)


async def _write(
    collection: str, body: NewDocuments, request: Request, *, replace: bool
) -> AddResult:
    service = service_of(request)
    check_count("documents", len(body.documents), service.limits.documents)
    async with service.using(request, collection, write=True) as found:
        written = await service.lanes.write(_put, found, body.documents, replace=replace)
    metrics().documents.inc(len(written.ids))
    return written


def _put(collection: Collection, given: list[NewDocument], *, replace: bool) -> AddResult:
    put = collection.index.upsert if replace else collection.index.add
    n_embedded = sum(document.embeddings is not None for document in given)
    if n_embedded not in (0, len(given)):
        raise InvalidParameterError("Either all documents of a request have embeddings, or none.")
    if not n_embedded:
        named = [document for document in given if document.id is not None]
        if len(named) == len(given):
            return put([_document(document) for document in given])
    arrays = [
        matrix(document.embeddings, collection.dim, f"Document {document.id!r}: embeddings")
        for document in given
        if document.embeddings is not None
    ]
    texts = [document.text for document in given]
    ids = [document.id for document in given]
    made = make_documents(texts, None, [d.metadata for d in given], len(arrays) or None)
    documents = [
        Document(id or document.id, document.text, document.metadata, source.language)
        for id, document, source in zip(ids, made, given, strict=True)
    ]
    return put(documents, embeddings=arrays or None)


def _document(given: NewDocument) -> Document:
    return Document(given.id or "", given.text, given.metadata, given.language)


@routes.get("/documents/{id:path}", response_model=StoredDocument)
async def get_document(collection: str, id: str, request: Request) -> Response:
    """The document behind an id."""
    service = service_of(request)
    async with service.using(request, collection) as found:
        document = (await service.lanes.help(_get, found.index, [id]))[0]
    if document is None:
        raise no_document(id)
    return answer(shown_document(document))


@routes.delete("/documents/{id:path}", response_model=Removed)
async def delete_document(collection: str, id: str, request: Request) -> Response:
    """Remove one document."""
    service = service_of(request)
    async with service.using(request, collection, write=True) as found:
        removed = await service.lanes.write(_delete_present, found.index, id)
    return answer(removed)


def _delete_present(index: Index, id: str) -> dict[str, Any]:
    if index.get([id])[0] is None:
        raise no_document(id)
    return asdict(index.delete([id]))


@routes.post("/documents/get", response_model=Documents)
async def get_documents(collection: str, body: Ids, request: Request) -> Response:
    """Several documents; null for ids that are not there."""
    service = service_of(request)
    check_count("ids", len(body.ids), service.limits.documents)
    async with service.using(request, collection) as found:
        documents = await service.lanes.help(_get, found.index, body.ids)
    return answer({"documents": [d and shown_document(d) for d in documents]})


@routes.post("/documents/delete", response_model=Removed, responses=QUEUED)
async def delete_documents(collection: str, body: Deletion, request: Request) -> Response:
    """Remove documents by id or by filter, in one commit, or by way of the queue."""
    service = service_of(request)
    if (body.ids is None) == (body.filter is None):
        raise InvalidParameterError("Pass either `ids` or `filter`.")
    if body.queue and body.ids is None:
        raise InvalidParameterError("A deletion by filter cannot be queued: pass `ids`.")
    async with service.using(request, collection, write=True) as found:
        if body.queue and body.ids is not None:
            client = await service.queue_of(found)
            ids = list(dict.fromkeys(body.ids))
            submitted = await service.lanes.help(submit_deletions, client, ids)
            return answer({"submissions": submitted}, 202)
        return answer(await service.lanes.write(_delete, found.index, body.ids, body.filter))


def _delete(
    index: Index, ids: list[str] | None, filter: Mapping[str, Any] | None
) -> dict[str, Any]:
    wanted = list(index.ids(filter=filter)) if ids is None else ids
    if wanted:
        return asdict(index.delete(wanted))
    with index.snapshot() as view:
        return {"generation": view.generation, "deleted": [], "missing": []}


@routes.post("/documents/export", responses=STREAM, response_class=Response)
async def export_documents(collection: str, body: Export, request: Request) -> Response:
    """Stream all documents of one generation, or those that match a filter, as JSON lines."""
    service = service_of(request)
    service.require(request, collection)
    documents = _documents(service, collection, body.filter)
    # What is wrong shows with the first: as a refusal, not as an answer that breaks off.
    first = await service.lanes.help(lambda: list(islice(documents, 1)))
    return lines(chain(first, documents))


def _documents(
    service: Service, name: str, filter: Mapping[str, Any] | None
) -> Iterator[dict[str, Any]]:
    with service.collections.using(name) as collection, collection.index.snapshot() as view:
        ids = view.ids(filter=filter)
        while some := list(islice(ids, STREAMED_TOGETHER)):
            for document in view.get(some):
                if document is not None:
                    yield shown_document(document)


@routes.get("/submissions/{submission}", response_model=Status)
async def get_submission(collection: str, submission: str, request: Request) -> Response:
    """What has become of queued documents."""
    service = service_of(request)
    async with service.using(request, collection) as found:
        client = await service.queue_of(found)
        try:
            status = await service.lanes.help(client.status, submission)
        except InvalidParameterError as error:
            raise Refusal(404, "submission_not_found", str(error)) from error
    shown = {"id": status.id, "state": status.state, "generation": status.generation}
    return answer({**shown, "reasons": dict(status.reasons)})


def _get(index: Index, ids: list[str]) -> list[Document | None]:
    return index.get(ids)


def no_document(id: str) -> Refusal:
    """There is no document with this id."""
    return Refusal(404, "document_not_found", f"There is no document {id[:80]!r}.")


def shown_document(document: Document) -> dict[str, Any]:
    """A document as the API shows it."""
    return {
        "id": document.id,
        "text": document.text,
        "metadata": dict(document.metadata),
        "language": document.language,
    }
