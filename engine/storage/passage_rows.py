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
    if type(id) is not str or len(id) > limits.MAX_ID_BYTES:
        raise _no_text(name, docno, "id", limits.MAX_ID_BYTES)
    if type(text) is not str or len(text) > limits.MAX_DOCUMENT_CHARACTERS:
        raise _no_text(name, docno, "text", limits.MAX_DOCUMENT_CHARACTERS)
    if language is not None and (
        type(language) is not str or len(language) > MAX_LANGUAGE_CHARACTERS
    ):
        raise _no_text(name, docno, "language", MAX_LANGUAGE_CHARACTERS)
    # What is written for most documents is not worth a message that nobody reads.
    metadata = {} if values == "{}" else make_metadata(values, f"{name}: document {docno}")
    return Document(id, text, metadata, language)


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


def make_passages(rows: Sequence[Row], name: str) -> list[tuple[int, int, int]]:
    """Start, end and ordinal of rows `(pid, start, end, ordinal)`: quicker for a few than arrays.

    Raises:
        CorruptIndexError: as `make_spans`.
    """
    passages = []
    for _, start, end, ordinal in rows:
        if type(start) is not int or type(end) is not int or type(ordinal) is not int:
            raise CorruptIndexError(f"{name}: a passage's span is not of whole numbers.")
        if not 0 <= start <= end or ordinal < 0:
            raise CorruptIndexError(f"{name}: a passage's span or ordinal is out of range.")
        passages.append((start, end, ordinal))
    return passages


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
