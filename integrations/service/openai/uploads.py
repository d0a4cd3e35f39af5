"""Uploaded files: their bytes and what is known of them, each key's own."""

from __future__ import annotations

import shutil
import time
from typing import IO, Any

from fastapi import Request

from ..context import Service, key_of
from ..names import is_name, new_id
from ..problems import Refusal
from ..records import Record, read_record, records_in, remove_folder, sync_folder, write_record


def keep(service: Service, content: IO[bytes], filename: str, purpose: str, owner: str) -> Record:
    """Store an upload; durable when the call returns."""
    id = new_id("file-")
    folder = service.records.file(id)
    folder.mkdir(parents=True)
    try:
        with (folder / "content").open("wb") as file:
            shutil.copyfileobj(content, file)
            size = file.tell()
        record = {
            "id": id,
            "bytes": size,
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "owner": owner,
        }
        write_record(folder / "file.json", record)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return record


def owner_of(request: Request) -> str | None:
    """Whose files a request sees; None sees all."""
    key = key_of(request)
    return None if key.collections is None else key.sha256


def require_file(service: Service, request: Request, id: str) -> Record:
    """What is known of a file.

    Raises:
        Refusal: there is none, or it is another key's.
    """
    record = read_record(service.records.file(id) / "file.json") if is_name(id) else None
    owner = owner_of(request)
    if record is None or (owner is not None and record["owner"] != owner):
        raise Refusal(404, "file_not_found", f"There is no file {id[:80]!r}.")
    return record


def all_files(service: Service, request: Request) -> list[Record]:
    """Of all files that a request may see."""
    owner = owner_of(request)
    folders = (service.records.folder / "files").glob("*")
    records = [record for folder in folders for record in records_in(folder)]
    return [record for record in records if owner is None or record["owner"] == owner]


def drop(service: Service, id: str) -> None:
    """Remove a file's bytes."""
    remove_folder(service.records.file(id), service.records.trash())


def shown_file(record: Record) -> dict[str, Any]:
    """A file as the API shows it."""
    return {
        "id": record["id"],
        "object": "file",
        "bytes": record["bytes"],
        "created_at": record["created_at"],
        "filename": record["filename"],
        "purpose": record["purpose"],
        "status": "processed",
        "expires_at": None,
    }
