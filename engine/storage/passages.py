"""Reads the SQLite file of a segment: documents, spans and metadata look-ups."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..documents import Document
from ..errors import CorruptIndexError, SnapshotClosedError, StorageError
from . import metadata
from .connections import Connections
from .directory import OUT_OF_DESCRIPTORS, Directory
from .identifiers import IdQuery, IdTable

ROWS_PER_QUERY: Final = 500
"""Numbers in one `IN (...)`, below the limit on parameters of every SQLite."""

MACHINE_ERRORS: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""Complaints of SQLite that are no fault of the file: no memory, no descriptors, no disk."""

PRAGMAS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA cache_size = -1024",
)


class PassageStore:
    """Ids, text, metadata and spans of one segment; read-only and safe to share by threads.

    Ids are found without SQLite. The SQLite file is read whole against its checksums when it is
    first needed. Each thread that reads has a connection to itself; a few are kept.

    Args:
        directory: of the index.
        name: of the SQLite file.
        ids: makes the segment's id table, checked.
        verify: checks the SQLite file, raising `CorruptIndexError`.
        connections: shared by all segments of a reader.
    """

    def __init__(
        self,
        directory: Directory,
        name: str,
        ids: Callable[[], IdTable],
        verify: Callable[[], None],
        connections: Connections,
    ) -> None:
        self._directory = directory
        self._name = name
        self._make_ids = ids
        self._verify = verify
        self._ids: IdTable | None = None
        self._connections = connections
        self._verified = False
        self._closed = False

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
        rows = self._rows("docno, id, language, metadata, text FROM documents", "docno", docnos)
        return [self._document(row) for row in rows]

    def spans(
        self, pids: Sequence[int] | NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where passages stand in their documents.

        Returns:
            int64 [n, 2], characters `[start, end)` of the text; int64 [n], ordinals.
        """
        rows = self._rows("pid, start, end, ordinal FROM passages", "pid", pids)
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)
        return table[:, 1:3], table[:, 3]

    def documents_where(self, key: str, operator: str, operand: Any) -> NDArray[np.uint32]:
        """Docnos, sorted, of documents that have the key and whose value satisfies the operator.

        See `weft.engine.storage.metadata.documents_where`.
        """
        with self._open() as connection:
            found = metadata.documents_where(connection, key, operator, operand)
        docnos = np.array(sorted(found), dtype=np.int64)
        if len(docnos) and not 0 <= docnos[0] <= docnos[-1] < len(self.id_table):
            raise CorruptIndexError(f"{self._name}: the metadata names an unknown document.")
        return docnos.astype(np.uint32)

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
        self, select: str, key: str, numbers: Sequence[int] | NDArray[np.integer[Any]]
    ) -> list[tuple[Any, ...]]:
        """Rows by number, in the order of the numbers; the key is the first column."""
        wanted = [int(number) for number in numbers]
        found: dict[int, tuple[Any, ...]] = {}
        with self._open() as connection:
            for start in range(0, len(wanted), ROWS_PER_QUERY):
                part = wanted[start : start + ROWS_PER_QUERY]
                marks = ",".join("?" * len(part))
                query = f"SELECT {select} WHERE {key} IN ({marks})"
                found.update((row[0], row) for row in connection.execute(query, part))
        for number in wanted:
            if number not in found:
                raise IndexError(f"{self._name} has no {key} {number}")
        return [found[number] for number in wanted]

    def _document(self, row: tuple[Any, ...]) -> Document:
        _, id, language, values, text = row
        try:
            return Document(id=id, text=text, metadata=json.loads(values), language=language)
        except (ValueError, TypeError) as error:
            raise CorruptIndexError(f"{self._name}: metadata of {id!r} is not JSON.") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses, with SQLite's complaints translated."""
        if self._closed:
            raise SnapshotClosedError(
                f"{self._name} was closed with its snapshot: take a new snapshot."
            )
        try:
            connection = self._connections.take(self._name) or self._connect()
            try:
                yield connection
            finally:
                self._connections.give_back(self._name, connection)
                if self._closed:
                    self.rest()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> CorruptIndexError | StorageError:
        """What SQLite says about the file, apart from what it says about the machine."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN:
            return StorageError(
                f"{self._name}: SQLite cannot open it now. Check permissions; if too many files "
                f"are open, {OUT_OF_DESCRIPTORS}."
            )
        if code in MACHINE_ERRORS:
            return StorageError(f"{self._name}: SQLite cannot read it now: {error}.")
        return CorruptIndexError(f"{self._name}: SQLite cannot read it: {error}.")

    def _connect(self) -> sqlite3.Connection:
        if not self._verified:
            self._verify()
            self._verified = True
        uri = self._directory.readable_path(self._name).absolute().as_uri()
        connection = sqlite3.connect(
            f"{uri}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
        )
        try:
            for pragma in PRAGMAS:
                connection.execute(pragma)
        except sqlite3.Error:
            connection.close()
            raise
        return connection
