"""A segment's SQLite file: that it is sound, and tells of the same documents as the arrays."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...documents import Document
from ...errors import CorruptIndexError
from ..metadata import metadata_rows
from ..passage_rows import make_document
from ..passages_connection import PassagesConnection
from ..segment_files import SegmentFiles

MAX_SQLITE_PROBLEMS: Final = 20
"""Complaints of SQLite that are passed on."""

FETCHED_ROWS: Final = 1000
"""Rows that are held at a time."""

Row = tuple[Any, ...]


def text_problems(connection: PassagesConnection, files: SegmentFiles) -> Iterator[str]:
    """What is wrong with a SQLite file, in words.

    Args:
        connection: to the file, whose bytes and schema are checked.
        files: the arrays of the same segment, open and sound.
    """
    problems = list(sqlite_problems(connection))
    # Rows are read only where the pages form trees, so that reading them comes to an end.
    if not problems:
        problems = list(_Rows(connection, files).problems())
    yield from problems


def sqlite_problems(connection: PassagesConnection) -> Iterator[str]:
    """What SQLite itself complains about."""
    rows = connection.execute(f"PRAGMA integrity_check({MAX_SQLITE_PROBLEMS})").fetchall()
    yield from (f"SQLite: {row[0]}" for row in rows if row[0] != "ok")


class _Rows:
    """Goes once through each table, in the order of its numbers."""

    def __init__(self, connection: PassagesConnection, files: SegmentFiles) -> None:
        self._connection = connection
        self._files = files
        self._name = files.passages.name
        self._lengths = np.zeros(files.ref.n_documents, dtype=np.int64)
        # Sums of keyed hashes tell whether two sets of rows are equal without holding either.
        self._key = secrets.token_bytes(16)
        self._metadata_sum = 0

    def problems(self) -> Iterator[str]:
        """The first problem of each table; the others are held against the documents."""
        checks = [self._check_metadata, self._check_passages, self._check_fulltext]
        try:
            self._check_documents()
        except CorruptIndexError as error:
            yield self._words(error)
            checks = [self._check_fulltext]
        for check in checks:
            try:
                check()
            except CorruptIndexError as error:
                yield self._words(error)

    def _words(self, error: CorruptIndexError) -> str:
        return str(error).removeprefix(f"{self._name}: ").rstrip(".")

    def _rows(self, query: str) -> Iterator[Row]:
        cursor = self._connection.execute(query)
        while rows := cursor.fetchmany(FETCHED_ROWS):
            yield from rows

    def _numbered(self, query: str, n_rows: int, what: str) -> Iterator[Row]:
        """Rows whose first column counts from 0 to `n_rows`."""
        count = 0
        for row in self._rows(query):
            if row[0] != count or count >= n_rows:
                raise self._failure(f"{what} {row[0]} stands where {count} of {n_rows} should")
            yield row
            count += 1
        if count != n_rows:
            raise self._failure(f"there are {count} rows of {what}s, not {n_rows}")

    def _failure(self, problem: str) -> CorruptIndexError:
        return CorruptIndexError(f"{self._name}: {problem}.")

    def _check_documents(self) -> None:
        query = "SELECT docno, id, language, metadata, text FROM documents ORDER BY docno"
        table = self._files.passages.id_table
        for row in self._numbered(query, len(self._lengths), "document"):
            document = make_document(row, self._name)
            if document.id != table.id(row[0]):
                raise self._failure(f"document {row[0]} has another id than in the arrays")
            self._lengths[row[0]] = len(document.text)
            self._add(-1, _metadata_of(row[0], document))

    def _add(self, sign: int, rows: Iterable[Row]) -> None:
        for row in rows:
            digest = hashlib.blake2b(repr(row).encode(), key=self._key, digest_size=16).digest()
            self._metadata_sum += sign * int.from_bytes(digest, "little")

    def _check_metadata(self) -> None:
        self._add(1, self._rows("SELECT key, role, kind, value, docno FROM metadata"))
        if self._metadata_sum:
            raise self._failure("the metadata table is not that of the documents")

    def _check_passages(self) -> None:
        query = "SELECT pid, docno, ordinal, start, end FROM passages ORDER BY pid"
        documents = self._files.passage_document
        expected_ordinals = _ordinals(documents)
        for row in self._numbered(query, len(documents), "passage"):
            pid, docno, ordinal, start, end = row
            if (docno, ordinal) != (documents[pid], expected_ordinals[pid]):
                raise self._failure(f"passage {pid} belongs to another document than in the arrays")
            numbers = type(start) is type(end) is int
            if not numbers or not 0 <= start <= end <= self._lengths[docno]:
                raise self._failure(f"passage {pid} has the span {start!r:.40} to {end!r:.40}")

    def _check_fulltext(self) -> None:
        """FTS5 keeps one row of lengths per document; its lists only FTS5 itself can check."""
        query = "SELECT id FROM fulltext_docsize ORDER BY id"
        for _ in self._numbered(query, len(self._lengths), "full-text row"):
            pass


def _metadata_of(docno: int, document: Document) -> set[Row]:
    """The rows that the metadata table should hold for a document."""
    try:
        return {(key, int(role), int(kind), value, docno)
                for key, role, kind, value in metadata_rows(document.metadata)}  # fmt: skip
    except (UnicodeEncodeError, RecursionError) as error:
        raise CorruptIndexError(f"document {docno} has unusable metadata: {error}.") from error


def _ordinals(passage_document: NDArray[np.uint32]) -> NDArray[np.int64]:
    """int64 [P]: the number of each passage within its document."""
    firsts = np.flatnonzero(np.diff(passage_document.astype(np.int64), prepend=-1))
    counts = np.diff(firsts, append=len(passage_document))
    ordinals: NDArray[np.int64] = np.arange(len(passage_document)) - np.repeat(firsts, counts)
    return ordinals
