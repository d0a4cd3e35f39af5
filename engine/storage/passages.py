"""Reads the SQLite file of a segment: documents, spans and metadata look-ups."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..documents import Document
from ..errors import CorruptIndexError, SnapshotClosedError
from . import metadata
from .connections import Connections
from .directory import Directory
from .fulltext import FullText, PostingsCache
from .identifiers import IdQuery, IdTable
from .passage_rows import (
    Found,
    Row,
    make_docnos,
    make_document,
    make_found,
    make_passage,
    make_spans,
    require_owner,
    row_bytes,
)
from .passages_connection import SQLITE_ERRORS, connect, translated

ROWS_PER_QUERY: Final = 500
"""Numbers in one `IN (...)`, below the limit on parameters of every SQLite."""

_SPANS: Final = "pid, start, end, ordinal, passages.docno"
_FOUND: Final = f"{_SPANS}, id, language, metadata, text"

# CROSS holds SQLite to this order: the passages asked for, then the document of each.
_JOINED: Final = "passages CROSS JOIN documents ON documents.docno = passages.docno"


@dataclass(frozen=True, slots=True)
class PassagesFile:
    """What the manifest says of a segment's SQLite file: its name, length and rows."""

    name: str
    size_bytes: int
    n_documents: int
    n_passages: int


class PassageStore:
    """Ids, text, metadata and spans of one segment; read-only and safe to share by threads.

    Ids are found without SQLite. The SQLite file is read whole against its checksums when it is
    first needed. Each thread that reads has a connection to itself; a few are kept. What the file
    says is not believed: see `passages_connection` and `passage_rows`.

    Args:
        directory: of the index.
        file: the SQLite file.
        ids: makes the segment's id table, checked.
        verify: checks the SQLite file, raising `CorruptIndexError`, or `SnapshotClosedError` where
            it was collected.
        connections, postings: shared by all segments of a reader.
    """

    def __init__(
        self,
        directory: Directory,
        file: PassagesFile,
        ids: Callable[[], IdTable],
        verify: Callable[[], None],
        connections: Connections,
        postings: PostingsCache,
    ) -> None:
        self._directory = directory
        self._file, self._name = file, file.name
        self._make_ids = ids
        self._verify = verify
        self._ids: IdTable | None = None
        self._connections = connections
        self._verified = False
        self._closed = False
        self.full_text = FullText(self._open, self._name, file.n_documents, postings)

    @property
    def name(self) -> str:
        """Of the SQLite file."""
        return self._name

    @property
    def id_table(self) -> IdTable:
        """The ids of the segment by docno."""
        if self._ids is None:
            self._ids = self._make_ids()
        return self._ids

    def ids(self) -> Iterator[str]:
        """All ids in the order of docnos, dead ones included."""
        return iter(self.id_table)

    def docnos(self, ids: Sequence[str] | IdQuery) -> dict[str, int]:
        """Which of the ids are in the segment, dead ones included: id -> docno."""
        return self.id_table.find(ids if isinstance(ids, IdQuery) else IdQuery(ids))

    def document(self, docno: int) -> Document:
        """One document as it was added."""
        return self.documents([docno])[0]

    def documents(self, docnos: Sequence[int] | NDArray[np.integer[Any]]) -> list[Document]:
        """Documents in the order of the docnos.

        Raises:
            CorruptIndexError: the file is damaged.
            IndexError: a docno is not in the segment.
        """
        columns = "docno, id, language, metadata, text"
        rows = self._rows(columns, "documents", "docno", docnos, self._file.n_documents)
        return [make_document(row, self._name) for row in rows]

    def spans(
        self, pids: Sequence[int] | NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where passages stand in their documents.

        Returns:
            int64 [n, 2], characters `[start, end)` of the text; int64 [n], ordinals.

        Raises:
            CorruptIndexError: the file is damaged.
            IndexError: a pid is not in the segment.
        """
        return make_spans(self._passages(pids), self._name)

    def found(self, pids: Sequence[int], docnos: Sequence[int]) -> list[Found]:
        """The passages that a search has found, each with its document.

        Args:
            pids: what is wanted.
            docnos: the document of each.

        Raises:
            CorruptIndexError: the file is damaged, or gives a passage to another document.
            IndexError: a pid or a docno is not in the segment.
        """
        if len(set(docnos)) < len(docnos):
            # Joined, the text of a document would be read once for each of its passages.
            return self._found_apart(pids, docnos)
        rows = self._rows(_FOUND, _JOINED, "pid", pids, self._file.n_passages)
        return make_found(rows, docnos, self._name)

    def _found_apart(self, pids: Sequence[int], docnos: Sequence[int]) -> list[Found]:
        unique = sorted(set(docnos))
        documents = dict(zip(unique, self.documents(unique), strict=True))
        rows = self._rows(_SPANS, "passages", "pid", pids, self._file.n_passages)
        found: list[Found] = []
        for row, docno in zip(rows, docnos, strict=True):
            require_owner(row, docno, self._name)
            one = documents[docno]
            found.append((one.id, one.text, dict(one.metadata), *make_passage(row, self._name)))
        return found

    def _passages(self, pids: Sequence[int] | NDArray[np.integer[Any]]) -> list[tuple[Any, ...]]:
        columns = "pid, start, end, ordinal"
        return self._rows(columns, "passages", "pid", pids, self._file.n_passages)

    def documents_where(self, key: str, operator: str, operand: Any) -> NDArray[np.uint32]:
        """Docnos, sorted, of documents that have the key and whose value satisfies the operator.

        See `weft.engine.storage.metadata.documents_where`.
        """
        with self._open() as connection:
            found = metadata.documents_where(connection, key, operator, operand)
        return make_docnos(found, self._file.n_documents, self._name)

    def verify(self) -> None:
        """Read the SQLite file against its checksums, again.

        Raises:
            CorruptIndexError: a block is not what was written.
        """
        self._verify()

    def close(self) -> None:
        """Close the SQLite file; the store cannot be used afterwards."""
        self._closed = True
        self.rest()

    def rest(self) -> None:
        """Close the SQLite file until it is needed again."""
        self._connections.close(self._name)

    def _rows(
        self,
        columns: str,
        tables: str,
        key: str,
        numbers: Sequence[int] | NDArray[np.integer[Any]],
        n_rows: int,
    ) -> list[tuple[Any, ...]]:
        """Rows by number, in the order of the numbers; the key is the first column."""
        wanted = (
            numbers.tolist()
            if isinstance(numbers, np.ndarray)
            else [int(number) for number in numbers]
        )
        if wanted and not 0 <= min(wanted) <= max(wanted) < n_rows:
            raise IndexError(f"{self._name} has {n_rows} rows; {key} {max(wanted)} was asked for")
        distinct = list(dict.fromkeys(wanted))
        found: dict[int, tuple[Any, ...]] = {}
        with self._open() as connection:
            for start in range(0, len(distinct), ROWS_PER_QUERY):
                part = distinct[start : start + ROWS_PER_QUERY]
                query = _look_up(columns, tables, key, len(part))
                self._collect(connection.execute(query, part), found)
        if len(found) < len(distinct):
            missing = next(number for number in distinct if number not in found)
            raise CorruptIndexError(f"{self._name}: the row of {key} {missing} is missing.")
        return [found[number] for number in wanted]

    def _collect(self, rows: Iterable[Row], found: dict[int, Row]) -> None:
        """Put rows under their numbers; together they are no longer than the file they are in."""
        left = self._file.size_bytes
        for row in rows:
            left -= row_bytes(row)
            if left < 0:
                raise CorruptIndexError(f"{self._name}: its rows are longer than the file.")
            found[row[0]] = row

    def _open(self) -> Borrowed:
        """A connection that no other thread uses, with SQLite's complaints translated."""
        return Borrowed(self)

    def take(self) -> sqlite3.Connection:
        """An idle connection or a new one, to be given back.

        Raises:
            SnapshotClosedError: the store was closed.
            CorruptIndexError, StorageError: the file is damaged, or cannot be opened.
        """
        if self._closed:
            raise SnapshotClosedError(
                f"{self._name} was closed with its snapshot: take a new snapshot."
            )
        return self._connections.take(self._name) or self._connect()

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Keep a connection for the next use, unless the store was closed meanwhile."""
        self._connections.give_back(self._name, connection)
        if self._closed:
            self.rest()

    def _connect(self) -> sqlite3.Connection:
        # SQLite does not tell a file that was collected from one that it may not open.
        if not self._verified or not self._directory.exists(self._name):
            self._verify()
            self._verified = True
        path = self._directory.readable_path(self._name)
        try:
            return connect(path, self._name, self._file.size_bytes)
        except sqlite3.OperationalError:
            if not self._directory.exists(self._name):
                # Collected just now, or lost: verifying tells which.
                self._verify()
            raise


@lru_cache(maxsize=64)
def _look_up(columns: str, tables: str, key: str, n: int) -> str:
    """The statement that finds the rows of n numbers."""
    # One by one; an IN would first build a table of the numbers.
    marks = ",".join(["(?)"] * n)
    return (
        f"WITH wanted(number) AS (VALUES {marks}) SELECT {columns} "
        f"FROM wanted CROSS JOIN {tables} WHERE {key} = number"
    )


class Borrowed:
    """The context in which a store's connection is used; see `PassageStore.take`."""

    __slots__ = ("_connection", "_store")

    def __init__(self, store: PassageStore) -> None:
        self._store = store

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = self._store.take()
        except SQLITE_ERRORS as error:
            raise translated(error, self._store.name) from error
        return self._connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store.give_back(self._connection)
        if isinstance(error, SQLITE_ERRORS):
            raise translated(error, self._store.name) from error
