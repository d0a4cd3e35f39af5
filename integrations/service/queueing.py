"""Documents on their way to the workers: cut into submissions, all checked before any is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from ...engine.documents import Document
from ...engine.validation import check_ids, make_documents
from ...workers import Client

SUBMISSION_BYTES: Final = 2 * 2**20
"""JSON of one submission's documents: the inbox takes four times as much."""

SUBMISSION_DELETIONS: Final = 1000


def submit(client: Client, documents: Sequence[Document]) -> list[str]:
    """Submit documents to be added or replaced.

    Returns:
        Ids of the submissions, once all are durable.

    Raises:
        InvalidDocumentError, DuplicateDocumentError: bad input; nothing was submitted.
        QueueFullError: the inbox is full; what was submitted before stays.
        StorageError: the disk refused; likewise.
    """
    checked = make_documents(documents, None, None, None)
    return [client.submit(part) for part in _parts(checked)]


def submit_deletions(client: Client, ids: Sequence[str]) -> list[str]:
    """Submit ids to be deleted; as `submit`."""
    checked = check_ids(ids)
    starts = range(0, len(checked), SUBMISSION_DELETIONS)
    return [client.submit(delete=checked[a : a + SUBMISSION_DELETIONS]) for a in starts]


def _parts(documents: Sequence[Document]) -> Iterator[list[Document]]:
    part: list[Document] = []
    n_bytes = 0
    for document in documents:
        size = len(json.dumps([document.text, document.metadata], default=dict))
        if part and n_bytes + size > SUBMISSION_BYTES:
            yield part
            part, n_bytes = [], 0
        part.append(document)
        n_bytes += size
    if part:
        yield part
