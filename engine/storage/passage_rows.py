"""Rows of a segment's SQLite file made into documents, spans and docnos, trusting none of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import limits
from ..documents import Document
from ..errors import CorruptIndexError

MAX_LANGUAGE_CHARACTERS: Final = 1000
"""Far above any language tag."""

Row = tuple[Any, ...]

Found = tuple[str, str, dict[str, Any], int, int, int]
"""Id, text and metadata of a document, and start, end and ordinal of a passage of it."""


def row_bytes(row: Row) -> int:
    """At most what a row takes in a file: a character has at least one byte."""
    total = 0
    for value in row:
        if type(value) is str or type(value) is bytes:
            total += len(value)
    return total


def make_document(row: Row, name: str) -> Document:
    """The document of a row `(docno, id, language, metadata, text)`.

    Args:
        row: as SQLite returns it.
        name: of the file, for messages.

    Raises:
        CorruptIndexError: the row is not what an index holds.
    """
    docno, id, language, values, text = row
    return Document(id, text, _metadata_of(docno, id, language, values, text, name), language)


def _metadata_of(
    docno: Any, id: Any, language: Any, values: Any, text: Any, name: str
) -> dict[str, Any]:
    """The metadata of a document's row, once its other values are checked."""
    if type(id) is not str or len(id) > limits.MAX_ID_BYTES:
        raise _no_text(name, docno, "id", limits.MAX_ID_BYTES)
    if type(text) is not str or len(text) > limits.MAX_DOCUMENT_CHARACTERS:
        raise _no_text(name, docno, "text", limits.MAX_DOCUMENT_CHARACTERS)
    if language is not None and (
        type(language) is not str or len(language) > MAX_LANGUAGE_CHARACTERS
    ):
        raise _no_text(name, docno, "language", MAX_LANGUAGE_CHARACTERS)
    # What is written for most documents is not worth a message that nobody reads.
    return {} if values == "{}" else make_metadata(values, f"{name}: document {docno}")


def make_found(rows: Sequence[Row], docnos: Sequence[int], name: str) -> list[Found]:
    """What a search has found, of rows of a passage's columns and its document's.

    Args:
        rows: `(pid, start, end, ordinal, docno, id, language, metadata, text)`.
        docnos: the document of each, by the segment's arrays.
        name: of the file, for messages.

    Raises:
        CorruptIndexError: a row is not what an index holds, or of another document.
    """
    found = []
    for row, docno in zip(rows, docnos, strict=True):
        require_owner(row, docno, name)
        start, end, ordinal = make_passage(row, name)
        id, language, values, text = row[5:]
        metadata = _metadata_of(docno, id, language, values, text, name)
        found.append((id, text, metadata, start, end, ordinal))
    return found


def require_owner(row: Row, docno: int, name: str) -> None:
    """Refuse a passage `(pid, start, end, ordinal, docno, ...)` that is another document's."""
    if row[4] != docno:
        raise CorruptIndexError(
            f"{name}: passage {row[0]} is one of document {row[4]}, and in the arrays of {docno}."
        )


def _no_text(name: str, docno: Any, field: str, most: int) -> CorruptIndexError:
    where = f"{name}: document {docno}: its {field}"
    return CorruptIndexError(f"{where} is no text of at most {most:,} characters.")


def make_metadata(values: Any, where: str) -> dict[str, Any]:
    """Metadata from its JSON, no longer and no deeper than an index takes it.

    Raises:
        CorruptIndexError: anything else.
    """
    most = limits.MAX_METADATA_BYTES
    if not isinstance(values, str) or len(values) > most:
        raise CorruptIndexError(f"{where}: its metadata is no text of at most {most:,} characters.")
    try:
        metadata = _DECODER.decode(values)
        if "\\u" in values:
            # Escapes may stand for lone surrogates, which nothing can print or store again.
            json.dumps(metadata, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise CorruptIndexError(f"{where}: its metadata is not JSON ({error}).") from error
    if not isinstance(metadata, dict) or _is_deeper(metadata, limits.MAX_METADATA_DEPTH):
        raise CorruptIndexError(
            f"{where}: its metadata is no object of at most {limits.MAX_METADATA_DEPTH} levels."
        )
    return metadata


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


# Making a decoder takes longer than decoding what most documents have.
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested deeper than so many levels below it."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return bool(value) and (levels == 0 or any(_is_deeper(item, levels - 1) for item in value))


def make_passage(row: Row, name: str) -> tuple[int, int, int]:
    """Start, end and ordinal of a row `(pid, start, end, ordinal, ...)`.

    Raises:
        CorruptIndexError: as `make_spans`.
    """
    start, end, ordinal = row[1:4]
    if type(start) is not int or type(end) is not int or type(ordinal) is not int:
        raise CorruptIndexError(f"{name}: a passage's span is not of whole numbers.")
    if not 0 <= start <= end or ordinal < 0:
        raise CorruptIndexError(f"{name}: a passage's span or ordinal is out of range.")
    return start, end, ordinal


def make_spans(rows: Sequence[Row], name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spans and ordinals of rows `(pid, start, end, ordinal)`.

    Returns:
        int64 [n, 2], characters `[start, end)`; int64 [n], ordinals.

    Raises:
        CorruptIndexError: what stands there are no numbers, or no spans.
    """
    if not all(type(value) is int for row in rows for value in row):
        raise CorruptIndexError(f"{name}: a passage's span is not of whole numbers.")
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    spans, ordinals = table[:, 1:3], table[:, 3]
    if (spans[:, 0] < 0).any() or (spans[:, 1] < spans[:, 0]).any() or (ordinals < 0).any():
        raise CorruptIndexError(f"{name}: a passage's span or ordinal is out of range.")
    return spans, ordinals


def make_docnos(found: Collection[Any], n_documents: int, name: str) -> NDArray[np.uint32]:
    """Docnos, sorted, from what the metadata names.

    Raises:
        CorruptIndexError: one of them is no document of the segment.
    """
    if not all(type(docno) is int and 0 <= docno < n_documents for docno in found):
        raise CorruptIndexError(f"{name}: the metadata names an unknown document.")
    return np.array(sorted(found), dtype=np.uint32)
