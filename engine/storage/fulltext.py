"""Inverted lists of a segment's full text, read through FTS5, and the words of queries."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptIndexError
from .passages_writer import TOKENIZER

MAX_CACHED_BYTES: Final = 64 * 2**20
"""Inverted lists that a reader keeps in memory."""

FETCHED_ROWS: Final = 65_536
"""Rows made an array at a time."""

Postings = tuple[NDArray[np.uint32], NDArray[np.uint32]]


class PostingsCache:
    """The inverted lists that were read last, of all segments of a reader.

    Args:
        max_bytes: of arrays kept; a longer list is not kept.
    """

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lists: OrderedDict[tuple[str, str], Postings] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, name: str, word: str) -> Postings | None:
        """The list of a word in a file, if it is kept."""
        with self._lock:
            found = self._lists.get((name, word))
            if found is not None:
                self._lists.move_to_end((name, word))
            return found

    def keep(self, name: str, word: str, postings: Postings) -> None:
        """Keep a list, and let go of others."""
        with self._lock:
            if (name, word) not in self._lists:
                self._lists[name, word] = postings
                self._n_bytes += _size(postings)
            while self._n_bytes > self._max_bytes:
                self._n_bytes -= _size(self._lists.popitem(last=False)[1])

    def after_fork(self) -> None:
        """Start with a lock that no other thread held."""
        self._lock = threading.Lock()


def _size(postings: Postings) -> int:
    return sum(part.nbytes for part in postings) + 200


class FullText:
    """Which documents of a segment hold which words; safe to share by threads.

    Args:
        open: gives a connection to the segment's SQLite file.
        name: of the file.
        n_documents: of the segment, dead ones included.
        cache: of inverted lists.
    """

    def __init__(
        self,
        open: Callable[[], AbstractContextManager[sqlite3.Connection]],
        name: str,
        n_documents: int,
        cache: PostingsCache,
    ) -> None:
        self._open = open
        self._name = name
        self.n_documents = n_documents
        self._cache = cache
        self._lengths: NDArray[np.uint32] | None = None

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """uint32 [n_documents]: words of each document; read at first use, then kept."""
        if self._lengths is None:
            with self._open() as connection:
                rows = connection.execute("SELECT id, sz FROM fulltext_docsize ORDER BY id")
                lengths = [self._length(number, *row) for number, row in enumerate(rows)]
            if len(lengths) != self.n_documents:
                raise self._failure(f"it has lengths of {len(lengths)} documents")
            self._lengths = np.array(lengths, dtype=np.uint32)
        return self._lengths

    def document_counts(self, words: Sequence[str]) -> NDArray[np.int64]:
        """int64, per word: documents that hold it."""
        counts = np.zeros(len(words), dtype=np.int64)
        unread = []
        for number, word in enumerate(words):
            known = self._cache.get(self._name, word)
            if known is None:
                unread.append((number, word))
            else:  # FTS5 would walk through the list again to count it
                counts[number] = len(known[0])
        if not unread:
            return counts
        with self._open() as connection:
            for number, word in unread:
                row = connection.execute("SELECT doc FROM words WHERE term = ?", (word,)).fetchone()
                if row is not None:
                    counts[number] = self._within(row[0], self.n_documents + 1)
        return counts

    def postings(self, word: str) -> Postings:
        """Docnos of the documents that hold a word, ascending, and how often each does.

        Raises:
            CorruptIndexError: the file is damaged.
        """
        found = self._cache.get(self._name, word)
        if found is None:
            found = self._read(word)
            self._cache.keep(self._name, word, found)
        return found

    def _read(self, word: str) -> Postings:
        parts = [np.empty(0, dtype=np.int64)]
        with self._open() as connection:
            cursor = connection.execute("SELECT doc FROM occurrences WHERE term = ?", (word,))
            while rows := cursor.fetchmany(FETCHED_ROWS):
                docnos = (row[0] for row in rows)
                parts.append(np.fromiter(docnos, dtype=np.int64, count=len(rows)))
        occurrences = np.concatenate(parts)
        steps = np.diff(occurrences)
        if len(occurrences) and (
            occurrences[0] < 0 or occurrences[-1] >= self.n_documents or (steps < 0).any()
        ):
            raise self._failure("the full text names an unknown document")
        firsts = np.flatnonzero(np.concatenate(([1] if len(occurrences) else [], steps)))
        counts = np.diff(firsts, append=len(occurrences))
        return occurrences[firsts].astype(np.uint32), counts.astype(np.uint32)

    def _length(self, expected: int, docno: Any, stored: Any) -> int:
        """Words of a document, from the variable-length number that FTS5 stores for one column."""
        if docno != expected:
            raise self._failure(f"it has a length of document {docno!r:.20}, not of {expected}")
        if isinstance(stored, bytes) and 1 <= len(stored) <= 4:
            if len(stored) == 1:
                return stored[0] & 0x7F
            value = 0
            for byte in stored:
                value = (value << 7) | (byte & 0x7F)
            return value
        raise self._failure(f"the length of document {docno!r:.20} is no number")

    def _within(self, value: Any, end: int) -> int:
        if type(value) is not int or not 0 <= value < end:
            raise self._failure(f"{value!r:.20} documents are said to hold a word")
        return value

    def _failure(self, problem: str) -> CorruptIndexError:
        return CorruptIndexError(f"{self._name}: {problem}: restore the index from a copy.")


class _Splitter:
    """Makes words of a text as the index does: a table in memory with the same tokenizer."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute(
            f"CREATE VIRTUAL TABLE query USING fts5(text, content='', tokenize='{TOKENIZER}')"
        )
        self._connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(query, instance)")

    def words(self, text: str) -> list[str]:
        self._connection.execute("BEGIN")
        try:
            self._connection.execute("INSERT INTO query(rowid, text) VALUES (1, ?)", (text,))
            rows = self._connection.execute("SELECT term FROM terms ORDER BY offset")
            return [term for (term,) in rows]
        finally:
            self._connection.execute("ROLLBACK")


_local = threading.local()


def split_words(text: str) -> Mapping[str, int]:
    """The words of a text as the index has them (folded and stemmed), and how often each occurs.

    Args:
        text: any; nothing in it is taken for the syntax of full-text queries.

    Returns:
        In the order of their first occurrence; empty where there is no letter or digit.
    """
    if not hasattr(_local, "splitter"):
        _local.splitter = _Splitter()
    return Counter(_local.splitter.words(text))
