"""Writes the SQLite file of a segment: documents, passages, metadata and full text."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..closing import Closing
from ..documents import Document
from ..errors import InvalidDocumentError, StorageError
from .metadata import TABLE as METADATA_TABLE
from .metadata import metadata_rows

TOKENIZER: Final = "porter unicode61 remove_diacritics 2"
"""FTS5's, which makes words of texts and of queries."""

SCHEMA: Final = (
    # The text stands last, so that the short columns are read without its overflow pages.
    "CREATE TABLE documents(docno INTEGER PRIMARY KEY, id TEXT NOT NULL, language TEXT, "
    "metadata TEXT NOT NULL, text TEXT NOT NULL)",
    "CREATE TABLE passages(pid INTEGER PRIMARY KEY, docno INTEGER NOT NULL, "
    "ordinal INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL)",
    METADATA_TABLE,
    "CREATE VIRTUAL TABLE fulltext USING fts5(text, content='documents', content_rowid='docno', "
    f"tokenize='{TOKENIZER}')",
)

# Nobody else sees the file before it was fsynced as a whole: no journal, no syncs of its own.
PRAGMAS: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA cache_size = -65536",
)


class PassagesWriter(Closing):
    """Fills a new SQLite file; documents and passages come in the order of their numbers.

    Usable as a context manager; the file is whole after `finish`.
    """

    def __init__(self, path: Path) -> None:
        self._next_docno = 0
        self._next_pid = 0
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise _refused(path, error) from error
        self._path = path
        for statement in (*PRAGMAS, "BEGIN", *SCHEMA):
            self._execute(statement)

    def add_documents(self, documents: Iterable[Document]) -> None:
        """Append documents.

        Raises:
            InvalidDocumentError: metadata that JSON or SQLite cannot hold.
            StorageError: the disk refused.
        """
        batch = list(enumerate(documents, self._next_docno))
        self._next_docno += len(batch)
        rows = [(docno, *_document_row(document)) for docno, document in batch]
        # A set, since a list may hold an element twice; sorted, since that inserts faster.
        metadata = sorted(
            {(*row, docno) for docno, document in batch for row in metadata_rows(document.metadata)}
        )
        self._execute_many("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", rows)
        self._execute_many("INSERT INTO metadata VALUES (?, ?, ?, ?, ?)", metadata)
        self._execute_many(
            "INSERT INTO fulltext(rowid, text) VALUES (?, ?)",
            ((docno, document.text) for docno, document in batch),
        )

    def add_passages(
        self,
        docnos: NDArray[np.integer[Any]],
        ordinals: NDArray[np.integer[Any]],
        spans: NDArray[np.int64],
    ) -> None:
        """Append passages: the docno, the ordinal in the document and the span of each."""
        pids = range(self._next_pid, self._next_pid + len(docnos))
        self._next_pid += len(docnos)
        columns = (pids, docnos.tolist(), ordinals.tolist(), *spans.T.tolist())
        self._execute_many(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?)", zip(*columns, strict=True)
        )

    def finish(self) -> None:
        """Put the full-text index in order and close the file."""
        self._execute("INSERT INTO fulltext(fulltext) VALUES ('optimize')")
        self._execute("COMMIT")
        self._connection.close()

    def _execute(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error as error:
            raise _refused(self._path, error) from error

    def _execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise _refused(self._path, error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise InvalidDocumentError(
                f"A document holds what cannot be stored ({error}): numbers have at most 64 bits, "
                "text is Unicode without lone surrogates."
            ) from error

    def close(self) -> None:
        """Close the file, whole or not."""
        self._connection.close()


def _document_row(document: Document) -> tuple[str, str | None, str, str]:
    if not document.metadata:
        return document.id, document.language, "{}", document.text
    try:
        metadata = json.dumps(
            dict(document.metadata), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDocumentError(
            f"Document {document.id!r}: its metadata is not JSON ({error}); use text, finite "
            "numbers, booleans, None, lists and objects."
        ) from error
    return document.id, document.language, metadata, document.text


def _refused(path: Path, error: sqlite3.Error) -> StorageError:
    return StorageError(f"{path}: SQLite cannot write ({error}): check disk and permissions.")
