"""Documents of a foreign index: which passages are whose, with text and metadata where known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..documents import Document
from ..errors import ForeignIndexError, InvalidInputError
from ..evaluation.lines import json_objects, tab_separated
from ..shown import shown
from .foreign import ForeignIndex, read_json, read_object
from .sqlite_metadata import METADATA_FILE, read_metadata

SEPARATOR: Final = "\n\n"
"""Between the chunks of a document that another package had cut."""

TITLE_SEPARATOR: Final = " | "
"""What colbert-ai puts between the title and the text of a passage before it encodes them."""

COLLECTION: Final = "collection.json"
NAMES: Final = "pid_docid_map.json"
METADATA: Final = "docid_metadata_map.json"


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """A document and its passages.

    Args:
        document: as it becomes one of Weft.
        pids: int64, of its passages in the foreign index.
        spans: int64 [passages, 2], characters of its text.
    """

    document: Document
    pids: NDArray[np.int64]
    spans: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Texts:
    """Where documents come from.

    Args:
        source: in words, for the report; "" where there is only a number for each passage.
        pieces: makes them, in the order of their first passages.
    """

    source: str
    pieces: Callable[[], Iterator[Piece]]


def find_texts(index: ForeignIndex, collection: Path | None) -> Texts:
    """The documents of an index: of a file, else of RAGatouille, else of what is recorded.

    Args:
        index: whose documents are wanted.
        collection: a file of texts in the order of the passages; None looks for one.

    Raises:
        ForeignIndexError, InvalidInputError: a file that is there cannot be used.
    """
    n_passages = len(index.doclens)
    if collection is not None:
        return Texts(str(collection), lambda: _from_file(collection, n_passages))
    folder = index.folder
    if (folder / COLLECTION).exists() and (folder / NAMES).exists():
        return Texts(str(folder / COLLECTION), lambda: _from_ragatouille(folder, index.doclens))
    recorded = None if index.collection is None else Path(index.collection)
    if recorded is not None and recorded.is_file() and recorded.suffix in (".tsv", ".jsonl"):
        return Texts(str(recorded), lambda: _from_file(recorded, n_passages))
    if (folder / METADATA_FILE).exists():
        return Texts("", lambda: _numbered(n_passages, read_metadata(folder, n_passages)))
    return Texts("", lambda: _numbered(n_passages, {}))


def _single(pid: int, document: Document) -> Piece:
    spans = np.array([[0, len(document.text)]], dtype=np.int64)
    return Piece(document, np.array([pid], dtype=np.int64), spans)


def _numbered(n_passages: int, metadata: Mapping[int, dict[str, Any]]) -> Iterator[Piece]:
    for pid in range(n_passages):
        yield _single(pid, Document(str(pid), "", metadata.get(pid, {})))


def _from_file(path: Path, n_passages: int) -> Iterator[Piece]:
    """A document for each line, in the order of the passages."""
    if path.name.removesuffix(".gz").endswith(".tsv"):
        documents = _from_table(path)
    elif path.name.removesuffix(".gz").endswith((".jsonl", ".json")):
        documents = _from_objects(path)
    else:
        raise InvalidInputError(
            f"{path} is no collection: use a .tsv file (id, text, perhaps title) or a .jsonl file."
        )
    count = 0
    for document in documents:
        if count < n_passages:
            yield _single(count, document)
        count += 1
    if count != n_passages:
        raise InvalidInputError(
            f"{path} holds {count:,} texts, and the index {n_passages:,} passages: pass the "
            "collection that the index was made from."
        )


def _from_table(path: Path) -> Iterator[Document]:
    for number, fields in tab_separated(path, 2):
        id, rest = fields
        if number == 1 and id == "id":  # a heading, which colbert-ai passes over as well
            continue
        text, *others = rest.split("\t")
        yield Document(id, f"{others[0]}{TITLE_SEPARATOR}{text}" if others else text)


def _from_objects(path: Path) -> Iterator[Document]:
    for number, record in json_objects(path):
        where = f"{path}, line {number}"
        id = next((record.pop(key) for key in ("id", "_id") if key in record), None)
        if isinstance(id, bool) or not isinstance(id, str | int):
            raise InvalidInputError(f"{where} has no 'id' that is a text or a number.")
        text, title = record.pop("text", None), record.pop("title", "")
        if not isinstance(text, str) or not isinstance(title, str):
            raise InvalidInputError(f"{where} has no 'text', or a title that is none.")
        metadata = record.pop("metadata", {})
        if not isinstance(metadata, dict):
            raise InvalidInputError(f"{where}: its metadata is {shown(metadata)}, no object.")
        whole = f"{title}{TITLE_SEPARATOR}{text}" if title else text
        yield Document(str(id), whole, {**record, **metadata})


def _from_ragatouille(folder: Path, doclens: NDArray[np.int64]) -> Iterator[Piece]:
    """Documents as they were handed to RAGatouille, their chunks put together again."""
    names = _names(folder / NAMES, doclens)
    chunks = dict(zip(names, _chunks(folder / COLLECTION, len(names)), strict=True))
    path = folder / METADATA
    metadata = read_json(path) if path.exists() else None
    if not isinstance(metadata, dict | None):
        raise ForeignIndexError(f"{path} holds a {type(metadata).__name__}, not an object.")
    members: dict[str, list[int]] = {}
    for pid, name in names.items():
        members.setdefault(name, []).append(pid)
    for name, pids in members.items():
        values = (metadata or {}).get(name) or {}
        if not isinstance(values, dict):
            raise ForeignIndexError(f"{path}: the metadata of {name!r} is no object.")
        texts = [chunks[pid] for pid in pids]
        document = Document(name, SEPARATOR.join(texts), values)
        yield Piece(document, np.array(pids, dtype=np.int64), _spans(texts))


def _spans(texts: list[str]) -> NDArray[np.int64]:
    """Where texts stand that are joined by the separator."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ends = np.cumsum(lengths + len(SEPARATOR)) - len(SEPARATOR)
    return np.stack([ends - lengths, ends], axis=1)


def _chunks(path: Path, count: int) -> list[str]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ForeignIndexError(f"{path} is no list of texts.")
    if len(value) != count:
        raise ForeignIndexError(
            f"{path} holds {len(value):,} texts, and {NAMES} names {count:,} passages."
        )
    return value


def _names(path: Path, doclens: NDArray[np.int64]) -> dict[int, str]:
    """The document id of each passage by its number, in order; removed ones have none."""
    value = read_object(path)
    names = {}
    for pid in range(len(doclens)):
        name = value.get(str(pid))
        if isinstance(name, str | int) and not isinstance(name, bool):
            names[pid] = str(name)
        elif name is not None or doclens[pid] > 0:
            raise ForeignIndexError(f"{path} names no document for passage {pid}.")
    if len(names) != len(value):
        raise ForeignIndexError(
            f"{path} names {len(value):,} passages, {len(value) - len(names):,} of which are not "
            f"among the {len(doclens):,} of the index."
        )
    return names
