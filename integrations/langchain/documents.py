"""Documents of LangChain to documents of Weft, and hits back."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from ...engine.documents import Document as WeftDocument
from ...engine.documents import Hit
from ...engine.errors import InvalidDocumentError, InvalidParameterError
from ..arguments import refuse_tuples


def to_weft(
    documents: Iterable[Document], ids: Sequence[str | None] | None = None
) -> list[WeftDocument]:
    """Documents as the engine takes them; what was handed in stays as it is.

    Args:
        documents: of LangChain; an id that is None becomes a random one.
        ids: take the place of the documents' own; None in it leaves a document its own.

    Raises:
        InvalidDocumentError: something is no Document, ids are not as many, or metadata holds
            what JSON would give back as something else.
    """
    given = list(documents)
    names: Sequence[str | None] = [None] * len(given) if ids is None else list(ids)
    if len(names) != len(given):
        raise InvalidDocumentError(
            f"There are {len(names)} ids for {len(given)} documents: pass one for each."
        )
    return [_to_weft(document, id) for document, id in zip(given, names, strict=True)]


def from_texts(
    texts: Iterable[str],
    metadatas: Sequence[Mapping[str, Any]] | None,
    ids: Sequence[str | None] | None,
) -> list[WeftDocument]:
    """Parallel arguments as documents of the engine; see `to_weft`."""
    if isinstance(texts, str):
        raise InvalidDocumentError("texts is a single string: pass a list of strings.")
    given = list(texts)
    for name, column in (("metadatas", metadatas), ("ids", ids)):
        if column is not None and len(column) != len(given):
            raise InvalidDocumentError(
                f"There are {len(column)} {name} for {len(given)} texts: pass one for each."
            )
    return [
        _document(
            None if ids is None else ids[number],
            text,
            {} if metadatas is None else metadatas[number],
        )
        for number, text in enumerate(given)
    ]


def _to_weft(document: object, id: str | None) -> WeftDocument:
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"A {type(document).__name__} is no document: pass langchain_core.documents.Document, "
            "or use add_texts."
        )
    return _document(document.id if id is None else id, document.page_content, document.metadata)


def _document(id: str | None, text: str, metadata: Mapping[str, Any]) -> WeftDocument:
    name = uuid.uuid4().hex if id is None else id
    refuse_tuples(metadata, f"Document {name!r}: metadata")
    return WeftDocument(name, text, metadata)


def from_weft(document: WeftDocument) -> Document:
    """A document as it was added."""
    return Document(id=document.id, page_content=document.text, metadata=dict(document.metadata))


def from_hit(hit: Hit, *, passage: bool, extra: Mapping[str, Any]) -> Document:
    """A hit as it was added.

    Args:
        hit: of a search.
        passage: take the passage that matched instead of the whole text.
        extra: goes into the metadata, since it was asked for.

    Raises:
        InvalidParameterError: the document has a key of that name already.
    """
    taken = sorted(extra.keys() & hit.metadata.keys())
    if taken:
        raise InvalidParameterError(
            f"Document {hit.id!r} has metadata of its own under {taken[0]!r}: choose another key "
            "for what is to be added to it."
        )
    text = hit.passage.text if passage else hit.text
    return Document(id=hit.id, page_content=text, metadata={**hit.metadata, **extra})
