"""Which documents go with a damaged segment, named by whatever of it is intact."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from ...errors import CorruptIndexError, StorageError
from ..checksums import U32
from ..directory import Directory
from ..identifiers import U64, hash_ids
from ..layout import ARRAYS_FILE, PASSAGES_FILE, segment_file
from ..manifest import SegmentRef
from ..mapping import Bytes
from ..passages_connection import SQLITE_ERRORS, connect
from ..tensors import TensorRange, header_end, read_header
from .blocks import BadRange
from .report import LostDocuments

ID_PARTS: Final = {"id_bytes": np.uint8, "id_offsets": np.int64}
HASH_PARTS: Final = {"id_hashes": np.uint64, "id_docnos": np.uint32}


class LostNames:
    """Finds the ids of a damaged segment's documents.

    The SQLite file names them where all of it is intact, and so does the id table in the arrays.
    Where both are damaged a name counts if its hash is the one that the id table keeps for this
    document: 64 bits do not agree by chance.

    Args:
        directory: of the index.
        ref: the segment.
        bad_arrays: damaged ranges of its arrays; None where its checksums are lost too.
        passages_intact: whether every byte of the SQLite file is what was written.
    """

    def __init__(
        self,
        directory: Directory,
        ref: SegmentRef,
        bad_arrays: list[BadRange] | None,
        passages_intact: bool,
    ) -> None:
        self._directory = directory
        self._ref = ref
        self._name = segment_file(ref.id, ARRAYS_FILE)
        self._bad = bad_arrays
        self._passages_intact = passages_intact
        self._names: list[str | None] = [None] * ref.n_documents
        self._hashes: dict[int, int] = {}

    def find(self, dead: U32, cause: str) -> LostDocuments:
        """The documents of the segment that are alive.

        Args:
            dead: the docnos of those that are not, sorted.
            cause: the damaged file.
        """
        if self._passages_intact:
            self._ask_sqlite(trusted=True)
        if None in self._names:
            self._ask_arrays()
        if None in self._names and self._hashes:
            self._ask_sqlite(trusted=False)
        wanted = np.setdiff1d(np.arange(self._ref.n_documents), dead).tolist()
        ids = [name for docno in wanted if (name := self._names[docno]) is not None]
        return LostDocuments(self._ref.id, tuple(ids), len(wanted) - len(ids), cause)

    def _take(self, docno: int, encoded: bytes, *, trusted: bool) -> None:
        """Keep a name that is certain."""
        if not trusted and self._hashes.get(docno) != int(hash_ids([encoded])[0]):
            return
        try:
            self._names[docno] = encoded.decode("utf-8")
        except UnicodeDecodeError:
            return

    def _ask_sqlite(self, *, trusted: bool) -> None:
        name = segment_file(self._ref.id, PASSAGES_FILE)
        path = self._directory.readable_path(name)
        try:
            connection = connect(path, name, self._ref.passages_bytes)
        except (*SQLITE_ERRORS, CorruptIndexError, StorageError):
            return
        try:
            for docno in [d for d, known in enumerate(self._names) if known is None]:
                self._ask_row(connection, docno, trusted=trusted)
        finally:
            connection.close()

    def _ask_row(self, connection: sqlite3.Connection, docno: int, *, trusted: bool) -> None:
        """One look-up per document, so that a damaged page hides only its own."""
        try:
            row = connection.execute(
                "SELECT id FROM documents WHERE docno = ?", (docno,)
            ).fetchone()
        except SQLITE_ERRORS:
            return
        if row is not None and isinstance(row[0], str):
            self._take(docno, row[0].encode("utf-8", "replace"), trusted=trusted)

    def _ask_arrays(self) -> None:
        try:
            data = self._directory.map(self._name)
            parts = _parts(data, self._name)
        except (FileNotFoundError, CorruptIndexError, StorageError):
            return
        if "id_hashes" in parts and "id_docnos" in parts:
            hashes: U64 = parts["id_hashes"].of(data)
            docnos: U32 = parts["id_docnos"].of(data)
            if len(hashes) == len(docnos):
                self._hashes = dict(zip(docnos.tolist(), hashes.tolist(), strict=True))
        if "id_bytes" in parts and "id_offsets" in parts:
            self._read_table(data, parts)

    def _read_table(self, data: Bytes, parts: dict[str, TensorRange]) -> None:
        offsets = parts["id_offsets"].of(data)
        encoded = parts["id_bytes"].of(data)
        if len(offsets) != self._ref.n_documents + 1:
            return
        trusted = self._is_intact(data, [parts[key] for key in ID_PARTS])
        for docno in range(self._ref.n_documents):
            start, end = int(offsets[docno]), int(offsets[docno + 1])
            if self._names[docno] is None and 0 <= start < end <= len(encoded):
                self._take(docno, bytes(encoded[start:end]), trusted=trusted)

    def _is_intact(self, data: Bytes, parts: Iterable[TensorRange]) -> bool:
        """Whether no damaged block touches the header or these tensors."""
        if self._bad is None:
            return False
        ranges = [(0, header_end(data, self._name)), *((part.start, part.end) for part in parts)]
        return not any(
            bad.offset < end and start < bad.offset + bad.size_bytes
            for bad in self._bad
            for start, end in ranges
        )


def _parts(data: Bytes, name: str) -> dict[str, TensorRange]:
    """The tensors of the id table that are of their dtype, whatever else the header says."""
    wanted: dict[str, Any] = {**ID_PARTS, **HASH_PARTS}
    return {
        key: found
        for key, found in read_header(data, name).items()
        if key in wanted and found.dtype == wanted[key] and len(found.shape) == 1
    }
