"""Checks on what callers hand in, before anything is encoded or written."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import kernels
from . import limits
from .documents import Document
from .errors import (
    DuplicateDocumentError,
    InvalidDocumentError,
    InvalidParameterError,
    InvalidQueryError,
)
from .shown import shown


def check_id(id: object) -> str:
    """Return a usable document id or raise `InvalidDocumentError`."""
    if not isinstance(id, str):
        raise InvalidDocumentError(
            f"Document id {shown(id)} is a {type(id).__name__}: ids are strings. Use str(...)."
        )
    if not id:
        raise InvalidDocumentError("A document id is empty: give it a name of its own.")
    size = len(_utf8(id, f"Document id {id!r}"))
    if size > limits.MAX_ID_BYTES:
        raise InvalidDocumentError(
            f"Document id {id[:40]!r}… has {size} bytes; at most {limits.MAX_ID_BYTES} are "
            "allowed. Use a hash of it and keep the long name in the metadata."
        )
    if "\0" in id:
        raise InvalidDocumentError(f"Document id {id!r} holds a NUL character: remove it.")
    return id


def check_ids(ids: object) -> list[str]:
    """Return a list of usable ids; a single string is refused, since it is iterable too."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InvalidDocumentError(
            f"ids must be a sequence of strings, not {shown(ids)}: pass [id]."
        )
    return [check_id(id) for id in ids]


def make_documents(
    texts: Sequence[str | Document] | None,
    ids: Sequence[str] | None,
    metadata: Sequence[Mapping[str, Any]] | None,
    n_embeddings: int | None,
) -> list[Document]:
    """Put the parallel arguments of `add` and `upsert` together into checked documents."""
    if texts is None:
        if n_embeddings is None:
            raise InvalidDocumentError("Nothing to add: pass texts, documents or embeddings.")
        texts = [""] * n_embeddings
    if isinstance(texts, str | bytes | Document) or not isinstance(texts, Sequence):
        raise InvalidDocumentError(
            f"texts must be a sequence of strings or documents, not a {type(texts).__name__}: "
            "wrap a single one in a list."
        )
    _check_lengths(len(texts), ids=ids, metadata=metadata)
    documents = [
        _make_document(
            text, None if ids is None else ids[i], None if metadata is None else metadata[i]
        )
        for i, text in enumerate(texts)
    ]
    for document in documents:
        check_document(document, text_required=n_embeddings is None)
    check_unique([document.id for document in documents])
    return documents


def _check_lengths(n: int, **columns: object) -> None:
    for name, column in columns.items():
        if column is None:
            continue
        if isinstance(column, str | bytes | Mapping) or not isinstance(column, Sequence):
            raise InvalidDocumentError(
                f"{name} must be a sequence with one entry per document, "
                f"not a {type(column).__name__}."
            )
        if len(column) != n:
            raise InvalidDocumentError(f"{name} has {len(column)} entries for {n} documents.")


def _make_document(
    text: str | Document, id: str | None, metadata: Mapping[str, Any] | None
) -> Document:
    if isinstance(text, Document):
        if id is not None or metadata is not None:
            raise InvalidDocumentError(
                f"Document {text.id!r} brings its own id and metadata: leave out `ids` and "
                "`metadata`, or pass plain texts."
            )
        return text
    return Document(
        id=uuid.uuid4().hex if id is None else id,
        text=text,
        metadata={} if metadata is None else metadata,
    )


def check_document(document: Document, *, text_required: bool) -> None:
    """Raise `InvalidDocumentError` unless the document can be stored and scored."""
    check_id(document.id)
    check_text(document.text, document.id, required=text_required)
    check_metadata(document.metadata, document.id)
    if document.language is not None and not isinstance(document.language, str):
        raise InvalidDocumentError(
            f"Document {document.id!r}: language must be a BCP-47 tag such as 'en' or None."
        )


def check_text(text: object, id: str, *, required: bool) -> None:
    """Raise `InvalidDocumentError` for a text that cannot be stored whole."""
    if not isinstance(text, str):
        hint = " Decode it first, naming its encoding." if isinstance(text, bytes) else ""
        raise InvalidDocumentError(
            f"Document {id!r}: its text is a {type(text).__name__}, not a string.{hint}"
        )
    if required and not text.strip():
        raise InvalidDocumentError(
            f"Document {id!r} has no text: leave it out, or pass its embeddings."
        )
    if len(text) > limits.MAX_DOCUMENT_CHARACTERS:
        raise InvalidDocumentError(
            f"Document {id!r} has {len(text):,} characters; at most "
            f"{limits.MAX_DOCUMENT_CHARACTERS:,} are allowed. Split it into several documents, "
            "by chapter for example."
        )
    if "\0" in text:
        raise InvalidDocumentError(
            f"Document {id!r} holds a NUL character at position {text.index(chr(0))}: "
            "remove it; binary files must be converted to text first."
        )
    _utf8(text, f"Document {id!r}")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidDocumentError(
            f"{what} holds a lone surrogate at position {error.start}, which is no character: "
            "it comes from wrongly decoded bytes. Decode the source again as UTF-8."
        ) from error


def check_metadata(metadata: object, id: str) -> None:
    """Raise `InvalidDocumentError` unless the metadata is a bounded JSON object."""
    if not isinstance(metadata, Mapping):
        raise InvalidDocumentError(
            f"Document {id!r}: metadata must be a mapping, not a {type(metadata).__name__}."
        )
    if not metadata:
        return
    _check_value(metadata, f"Document {id!r}: metadata", 0)
    text = json.dumps(dict(metadata), ensure_ascii=False, default=dict)
    size = len(_utf8(text, f"Document {id!r}: metadata"))
    if size > limits.MAX_METADATA_BYTES:
        raise InvalidDocumentError(
            f"Document {id!r}: metadata takes {size:,} bytes as JSON; at most "
            f"{limits.MAX_METADATA_BYTES:,} are allowed. Keep long values in the text."
        )


def _check_value(value: object, where: str, depth: int) -> None:
    if depth > limits.MAX_METADATA_DEPTH:
        raise InvalidDocumentError(
            f"{where} is nested deeper than {limits.MAX_METADATA_DEPTH} levels: flatten it."
        )
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not key or "\0" in key:
                raise InvalidDocumentError(f"{where}: key {shown(key)} is not a usable string.")
            _check_value(item, f"{where}[{key!r}]", depth + 1)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_value(item, f"{where}[{i}]", depth + 1)
    else:
        _check_scalar(value, where)


def _check_scalar(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidDocumentError(f"{where} is {value!r}, which JSON does not know: use None.")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise InvalidDocumentError(f"{where} is {shown(value)}, more than 64 bits: use a string.")
    if isinstance(value, str) and "\0" in value:
        raise InvalidDocumentError(f"{where} holds a NUL character: remove it.")
    if value is not None and not isinstance(value, str | int | float | bool):
        raise InvalidDocumentError(
            f"{where} is a {type(value).__name__}; JSON values are allowed (text, numbers, "
            "booleans, None, lists and objects). Convert dates with .isoformat()."
        )


def check_unique(ids: Sequence[str]) -> None:
    """Raise `DuplicateDocumentError` for an id that stands twice in one call."""
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise DuplicateDocumentError(
                f"Document id {id!r} stands twice in this call: keep one, or name them apart."
            )
        seen.add(id)


def check_query_text(text: str) -> str:
    """Return a usable query text or raise `InvalidQueryError`."""
    if not isinstance(text, str):
        raise InvalidQueryError(
            f"The query {shown(text)} is a {type(text).__name__}: pass a string."
        )
    if not text.strip():
        raise InvalidQueryError("The query is empty: pass some words.")
    if len(text) > limits.MAX_QUERY_CHARACTERS:
        raise InvalidQueryError(
            f"The query has {len(text):,} characters; at most "
            f"{limits.MAX_QUERY_CHARACTERS:,} are allowed."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidQueryError(
            f"The query holds a lone surrogate at position {error.start}: decode it again."
        ) from error
    return text


def check_dim(dim: object) -> int:
    """Return a usable dim or raise `InvalidParameterError`."""
    if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= limits.MAX_DIM:
        raise InvalidParameterError(
            f"dim is {shown(dim)}: use a whole number from 1 to {limits.MAX_DIM}."
        )
    return dim


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """Return an integer parameter in `[low, high]` or raise `InvalidParameterError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidParameterError(
            f"{name} is {shown(value)}: use a whole number from {low:,} to {high:,}."
        )
    return value


def check_flag(name: str, value: object) -> bool:
    """Return a parameter that is True or False, or raise `InvalidParameterError`."""
    if not isinstance(value, bool):
        raise InvalidParameterError(f"{name} is {shown(value)}: use True or False.")
    return value


def check_path(path: object) -> Path:
    """Return the path of an index or raise `InvalidParameterError`."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InvalidParameterError(f"path is {shown(path)}: pass a string or a pathlib.Path.")
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise InvalidParameterError(f"path is {shown(path)}, which is no name of a folder.")
    return Path(path)


def check_threads(threads: object) -> int:
    """Return a number of threads, and check what the environment says of kernels, before work.

    Raises:
        InvalidParameterError: out of range, or WEFT_THREADS or WEFT_TARGET cannot be used.
    """
    try:
        kernels.active_target()
        kernels.default_threads()
    except ValueError as error:
        raise InvalidParameterError(
            f"{error}. Correct or unset the environment variable."
        ) from error
    return check_integer("threads", threads, 0, limits.MAX_THREADS)


def finite_number(value: object) -> float | None:
    """A value as a float; None if it is no number, not finite, or too large for one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def check_budget(seconds: object, max_steps: object) -> None:
    """Check the bounds of a maintenance; None is no bound.

    Raises:
        InvalidParameterError: seconds is no finite number from 0, or max_steps no whole one.
    """
    if seconds is not None:
        number = finite_number(seconds)
        if number is None or number < 0:
            raise InvalidParameterError(
                f"seconds is {shown(seconds)}: use a finite number from 0, or None for no bound."
            )
    if max_steps is not None:
        check_integer("max_steps", max_steps, 0, 10**9)
