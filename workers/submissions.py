"""What a submission looks like in the inbox: JSON lines, bounded, checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..engine.documents import Document
from ..engine.errors import InvalidDocumentError, InvalidInputError, InvalidSubmissionError
from ..engine.storage.checksums import checksum
from ..engine.validation import check_document, check_id, check_unique

FORMAT_VERSION: Final = 1
"""The format that is written, and the newest that is read."""

MAX_SUBMISSION_BYTES: Final = 8 * 2**20
"""Length of one submission's file: what a slow encoder gets through within a task's time limit."""

MAX_SUBMISSION_OPERATIONS: Final = 10_000
"""Documents and deletions of one submission."""

HEADER_BYTES: Final = 512
"""A header line is no longer than this."""

DOCUMENT_KEYS: Final = frozenset({"id", "text", "metadata", "language"})


@dataclass(frozen=True, slots=True)
class Submission:
    """Documents to upsert and ids to delete, as one change.

    Args:
        documents: replace what is there under their ids.
        deletions: document ids; none of them is also a document's.
        submitted_seconds: when it was handed in, by the submitter's clock, since 1970.
        token: tells this file from any other, 32 hex characters.
    """

    documents: tuple[Document, ...]
    deletions: tuple[str, ...]
    submitted_seconds: float
    token: str

    @property
    def n_operations(self) -> int:
        """Documents and deletions."""
        return len(self.documents) + len(self.deletions)

    @property
    def n_characters(self) -> int:
        """Length of all texts."""
        return sum(len(document.text) for document in self.documents)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a submission.

    Args:
        n_operations: documents and deletions.
        submitted_seconds: see `Submission`.
        token: see `Submission`.
        crc32c: of all that follows the line.
    """

    n_operations: int
    submitted_seconds: float
    token: str
    crc32c: int


def check_submission(documents: Iterable[object], delete: Sequence[str]) -> list[Document]:
    """Return documents that can be submitted together with deletions.

    Raises:
        InvalidDocumentError: one that cannot be stored, an id that cannot be one, or neither
            documents nor deletions.
        DuplicateDocumentError: an id stands twice.
        InvalidInputError: more of them than a submission holds.
    """
    checked = [_document(document) for document in documents]
    n_operations = len(checked) + len(delete)
    if not n_operations:
        raise InvalidDocumentError("Nothing to submit: pass documents, or ids to delete.")
    if n_operations > MAX_SUBMISSION_OPERATIONS:
        raise InvalidInputError(
            f"A submission of {n_operations:,} documents and deletions is too large: submit "
            f"{MAX_SUBMISSION_OPERATIONS:,} at a time."
        )
    for document in checked:
        check_document(document, text_required=True)
    check_unique([document.id for document in checked] + [check_id(id) for id in delete])
    return checked


def _document(given: object) -> Document:
    if not isinstance(given, Document):
        raise InvalidDocumentError(
            f"A {type(given).__name__} cannot be submitted: pass weft.Document(id=..., text=...)."
        )
    return given


def encode_submission(submission: Submission) -> bytes:
    """The content of a submission's file.

    Raises:
        InvalidInputError: it is longer than a submission may be.
    """
    lines = [_line(_as_json(document)) for document in submission.documents]
    lines += [_line({"delete": id}) for id in submission.deletions]
    body = "".join(lines).encode()
    header = {
        "weft_submission": FORMAT_VERSION,
        "operations": submission.n_operations,
        "submitted": submission.submitted_seconds,
        "token": submission.token,
        "crc32c": checksum(body),
    }
    data = _line(header).encode() + body
    if len(data) > MAX_SUBMISSION_BYTES:
        raise InvalidInputError(
            f"A submission of {len(data):,} bytes is too large: at most "
            f"{MAX_SUBMISSION_BYTES:,} are allowed. Submit fewer documents at a time."
        )
    return data


def _as_json(document: Document) -> dict[str, Any]:
    record: dict[str, Any] = {"id": document.id, "text": document.text}
    if document.metadata:
        record["metadata"] = document.metadata
    if document.language is not None:
        record["language"] = document.language
    return record


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict) + "\n"


def decode_header(data: bytes) -> Header:
    """Read the first line.

    Raises:
        InvalidSubmissionError: there is none, or it is not one of this format.
    """
    line, newline, _ = data[:HEADER_BYTES].partition(b"\n")
    fields = _parsed(line)
    if not newline or not isinstance(fields, dict):
        raise InvalidSubmissionError("Its first line is no header.")
    if fields.get("weft_submission") != FORMAT_VERSION:
        raise InvalidSubmissionError(
            f"It is of format {fields.get('weft_submission')!r}; this Weft reads "
            f"{FORMAT_VERSION}: use a newer one."
        )
    n_operations, submitted = fields.get("operations"), fields.get("submitted")
    token, crc32c = fields.get("token"), fields.get("crc32c")
    if (
        type(n_operations) is not int
        or not 1 <= n_operations <= MAX_SUBMISSION_OPERATIONS
        or isinstance(submitted, bool)
        or not isinstance(submitted, int | float)
        or not 0 <= submitted < 1e12
        or not isinstance(token, str)
        or type(crc32c) is not int
    ):
        raise InvalidSubmissionError("A field of its header is missing, or out of range.")
    return Header(n_operations, float(submitted), token, crc32c)


def decode_submission(data: bytes) -> Submission:
    """Read a submission's file, whoever wrote it.

    Raises:
        InvalidSubmissionError: it is damaged, or not one of this format.
        InvalidInputError: a document that cannot be stored.
    """
    if len(data) > MAX_SUBMISSION_BYTES:
        raise InvalidSubmissionError(f"It is longer than {MAX_SUBMISSION_BYTES:,} bytes.")
    header = decode_header(data)
    body = data[data.index(b"\n") + 1 :]
    if checksum(body) != header.crc32c:
        raise InvalidSubmissionError("It is not what was written: its checksum differs.")
    lines = body.split(b"\n")
    if len(lines) != header.n_operations + 1 or lines[-1]:
        raise InvalidSubmissionError(f"It does not hold {header.n_operations} operations.")
    documents, deletions = _operations(lines[:-1])
    check_submission(documents, deletions)
    return Submission(tuple(documents), tuple(deletions), header.submitted_seconds, header.token)


def _operations(lines: Iterable[bytes]) -> tuple[list[Document], list[str]]:
    documents: list[Document] = []
    deletions: list[str] = []
    for line in lines:
        fields = _parsed(line)
        if isinstance(fields, dict) and fields.keys() == {"delete"}:
            deletions.append(check_id(fields["delete"]))
        elif isinstance(fields, dict) and {"id", "text"} <= fields.keys() <= DOCUMENT_KEYS:
            documents.append(Document(**fields))
        else:
            raise InvalidSubmissionError("A line is neither a document nor a deletion.")
    return documents, deletions


def _parsed(line: bytes) -> object:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidSubmissionError(f"A line is no JSON: {error}.") from error
    return value
