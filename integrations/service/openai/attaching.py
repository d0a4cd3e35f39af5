"""What is recorded of a file that is put into a vector store, and how the API shows it."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import Request

from ....engine.errors import InvalidParameterError
from ..context import Service
from ..names import is_name
from ..problems import Refusal
from ..records import Record, read_record
from .chunks import check_attributes
from .ingesting import IN_PROGRESS
from .models import Chunking, NewAttachment, StaticChunking
from .uploads import require_file

AUTO: Final = {"type": "auto"}


def new_record(service: Service, request: Request, wanted: NewAttachment) -> Record:
    """The record of a file that is about to be put into a vector store.

    Raises:
        Refusal: there is no such file, or it is another key's.
        InvalidParameterError: attributes or sizes cannot be used.
    """
    require_file(service, request, wanted.file_id)
    return {
        "id": wanted.file_id,
        "created_at": int(time.time()),
        "status": IN_PROGRESS,
        "last_error": None,
        "usage_bytes": 0,
        "attributes": check_attributes(wanted.attributes),
        "chunking_strategy": chunking(wanted.chunking_strategy),
    }


def chunking(wanted: Chunking | None) -> dict[str, Any]:
    """A strategy as it is recorded.

    Raises:
        InvalidParameterError: chunks would overlap by more than half.
    """
    if not isinstance(wanted, StaticChunking):
        return dict(AUTO)
    sizes = wanted.static
    if 2 * sizes.chunk_overlap_tokens > sizes.max_chunk_size_tokens:
        raise InvalidParameterError(
            "chunk_overlap_tokens is more than half of max_chunk_size_tokens: make it smaller."
        )
    return wanted.model_dump()


def find_attached(service: Service, store: str, file: str) -> Record:
    """The record of a file in a vector store.

    Raises:
        Refusal: it is not in there.
    """
    record = read_record(service.records.attached(store, file)) if is_name(file) else None
    if record is None:
        raise Refusal(404, "file_not_found", f"There is no file {file[:80]!r} in {store!r}.")
    return record


def shown_attached(store: str, record: Record) -> dict[str, Any]:
    """A file in a vector store as the API shows it."""
    strategy = record["chunking_strategy"]
    return {
        "id": record["id"],
        "object": "vector_store.file",
        "created_at": record["created_at"],
        "vector_store_id": store,
        "status": record["status"],
        "last_error": record["last_error"],
        "usage_bytes": record["usage_bytes"],
        "attributes": record["attributes"],
        "chunking_strategy": {"type": "other"} if strategy == AUTO else strategy,
    }
