"""From an uploaded file to the documents of a vector store, one per chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ....engine.documents import Document
from ....engine.encoder.base import Encoder
from ....engine.errors import InvalidInputError, InvalidParameterError
from ...files.options import FileOptions
from ...files.reading import SourceFile, read_file
from ...files.registry import format_of

MARK: Final = "weft_file"
"""Key of a chunk's metadata that says which file it is of; attributes cannot have it."""

Spans = Iterator[tuple[int, int]]


def read_chunks(
    content: Path,
    record: Mapping[str, Any],
    encoder: Encoder,
    chunking: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> list[Document]:
    """Read a file and cut it.

    Args:
        content: where its bytes are.
        record: of the file, with id and filename.
        encoder: whose tokens are counted.
        chunking: `{"type": "auto"}`, or static with sizes.
        attributes: of the file, which become the metadata of every chunk.

    Raises:
        InvalidInputError: the file holds no text that can be read.
    """
    name = str(record["filename"])
    kind = format_of(Path(name)) or "text"
    source = SourceFile(content, name, kind, int(record["bytes"]))
    found: list[Document] = []
    for item in read_file(source, FileOptions()):
        if isinstance(item, InvalidInputError):
            raise InvalidInputError(str(item).replace(str(content), name))
        for start, end in _spans(item.text, encoder, chunking):
            mark = {"id": record["id"], "name": name, "chunk": len(found)}
            metadata = {**attributes, MARK: mark}
            chunk_id = f"{record['id']}:{len(found):06d}"
            found.append(Document(chunk_id, item.text[start:end], metadata))
    if not found:
        raise InvalidInputError(f"{name} holds no text.")
    return found


def check_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes as they are kept.

    Raises:
        InvalidParameterError: a key is the service's own, or cannot be asked for.
    """
    for key in attributes or {}:
        if key == MARK or key.startswith((f"{MARK}.", "$")) or "\0" in key:
            raise InvalidParameterError(f"An attribute cannot be named {key!r}: choose another.")
    return dict(attributes or {})


def _spans(text: str, encoder: Encoder, chunking: Mapping[str, Any]) -> Spans:
    """Characters of chunks, which cover all that is not white space."""
    passages = encoder.split(text)
    if chunking["type"] == "auto":
        yield from passages
        return
    sizes = chunking["static"]
    starts = _words(text, encoder, passages)
    most, overlap = sizes["max_chunk_size_tokens"], sizes["chunk_overlap_tokens"]
    for first in range(0, max(1, len(starts) - overlap), most - overlap):
        start = starts[first] if first else 0
        end = starts[first + most] if first + most < len(starts) else len(text)
        if text[start:end].strip():
            yield start, end


def _words(text: str, encoder: Encoder, passages: list[tuple[int, int]]) -> list[int]:
    """Where the text's tokens begin; one within a word stands for where the word does."""
    starts: list[int] = []
    reached = 0
    for a, b in passages:
        for token in encoder.passage_tokens(text[a:b]):
            start, end = a + token.start, a + token.end
            if start < end and start >= reached:
                whole = start == 0 or not (text[start - 1].isalnum() and text[start].isalnum())
                starts.append(start if whole or not starts else starts[-1])
                reached = end
    return starts
