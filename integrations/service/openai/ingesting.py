"""Putting files into vector stores, in the background; a process that dies leaves it to others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ....engine.documents import Document
from ....engine.errors import InvalidInputError, WeftError
from ..collections import Collection
from ..context import Service
from ..metrics import metrics
from ..problems import Refusal, refusal_of
from ..records import Record, exclusive, read_record, records_in, write_record
from .chunks import MARK, read_chunks

logger = logging.getLogger("weft.service")

IN_PROGRESS, COMPLETED, FAILED, CANCELLED = "in_progress", "completed", "failed", "cancelled"


def attach(service: Service, store: str, record: Record) -> None:
    """Record that a file is to be in a vector store, durably, and begin to put it there."""
    with service.records.locked(store):
        write_record(service.records.attached(store, record["id"]), record)
    begin(service, store, record["id"])


def begin(service: Service, store: str, file: str) -> None:
    """Have a file read, encoded and committed, unless this process is at it."""
    if (store, file) in service.jobs:
        return
    service.jobs.add((store, file))
    try:
        service.lanes.ingestion.submit(_work, service, store, file)
    except RuntimeError:  # the service is ending; the next one goes on
        service.jobs.discard((store, file))


def resume(service: Service) -> None:
    """Go on with what a process that has ended left behind."""
    for folder in sorted((service.records.folder / "stores").glob("*")):
        for record in records_in(folder / "files"):
            if record["status"] == IN_PROGRESS:
                begin(service, folder.name, record["id"])


def _work(service: Service, store: str, file: str) -> None:
    lock = service.records.folder / "locks" / f"{store}.{file}.lock"
    try:
        with exclusive(lock, wait=False) as held:
            if held:
                _ingest(service, store, file)
                lock.unlink(missing_ok=True)
    except Exception:
        logger.exception("File %s of %s is put off", file, store)
    finally:
        service.jobs.discard((store, file))


def _ingest(service: Service, store: str, file: str) -> None:
    path = service.records.attached(store, file)
    record = read_record(path)
    if record is None or record["status"] != IN_PROGRESS:
        return
    try:
        n_bytes = _put(service, store, record)
        outcome: Record = {"status": COMPLETED, "usage_bytes": n_bytes, "last_error": None}
    except (WeftError, OSError, Refusal) as error:
        outcome = {"status": FAILED, "last_error": _told(service, error)}
    if not service.records.change(store, path, lambda found: _settled(found, outcome)):
        detach(service, store, file)  # it was taken out of the vector store meanwhile


def _settled(found: Record, outcome: Record) -> Record | None:
    return {**found, **outcome} if found["status"] == IN_PROGRESS else None


def _put(service: Service, store: str, record: Record) -> int:
    """Write a file's chunks in one commit, then drop what is left of earlier ones; their bytes."""
    folder = service.records.file(record["id"])
    uploaded = read_record(folder / "file.json")
    if uploaded is None:
        raise InvalidInputError("The file was deleted.")
    with service.collections.using(store) as collection:
        chunks = read_chunks(
            folder / "content",
            uploaded,
            service.encoder_of(collection),
            record["chunking_strategy"],
            record["attributes"],
        )
        before = chunk_ids(collection, record["id"])
        collection.index.upsert(chunks)
        kept = {chunk.id for chunk in chunks}
        stale = [id for id in before if id not in kept]
        if stale:
            collection.index.delete(stale)
    metrics().documents.inc(len(chunks))
    return sum(len(chunk.text.encode()) for chunk in chunks)


def _told(service: Service, error: Exception) -> dict[str, str]:
    code = "invalid_file" if isinstance(error, InvalidInputError) else "server_error"
    return {"code": code, "message": refusal_of(error, service.shown_root).detail}


def chunk_ids(collection: Collection, file: str) -> list[str]:
    """Ids of a file's chunks, in order."""
    return sorted(collection.index.ids(filter={f"{MARK}.id": file}))


def chunks_of(service: Service, store: str, file: str) -> list[Document]:
    """A file's chunks, in order."""
    with service.collections.using(store) as collection:
        found = collection.index.get(chunk_ids(collection, file))
    return [document for document in found if document is not None]


def detach(service: Service, store: str, file: str) -> None:
    """Take a file out of a vector store; the record goes first, so that no job puts it back."""
    path = service.records.attached(store, file)
    with service.records.locked(store):
        path.unlink(missing_ok=True)
    with service.collections.using(store) as collection:
        ids = chunk_ids(collection, file)
        if ids:
            collection.index.delete(ids)


def rename_attributes(service: Service, store: str, record: Record) -> None:
    """Give a file's chunks the attributes of its record, in one commit."""
    with service.collections.using(store) as collection:
        found = collection.index.get(chunk_ids(collection, record["id"]))
        changed = [
            Document(d.id, d.text, {**record["attributes"], MARK: d.metadata[MARK]}, d.language)
            for d in found
            if d is not None
        ]
        if changed:
            collection.index.upsert(changed)


def stores_with(service: Service, file: str) -> list[str]:
    """Vector stores that a file is in."""
    pattern: Path = service.records.folder / "stores"
    return sorted(path.parent.parent.name for path in pattern.glob(f"*/files/{file}.json"))


def counts(records: list[Record]) -> dict[str, Any]:
    """How many files are in which state."""
    states = [record["status"] for record in records]
    named = {state: states.count(state) for state in (IN_PROGRESS, COMPLETED, FAILED, CANCELLED)}
    return {**named, "total": len(states)}
