"""One segment: every byte of its files, and the structure of what is intact."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from ...errors import CorruptIndexError, StorageError
from ..checksums import U32
from ..directory import Directory
from ..disk_errors import is_media_error
from ..files import read_tensors
from ..identifiers import IdTable
from ..layout import ARRAYS_FILE, CHECKSUMS_FILE, PASSAGES_FILE, segment_file
from ..manifest import SegmentRef
from ..passages_connection import SQLITE_ERRORS, connect, translated
from ..segment_files import SegmentFiles
from .arrays import array_problems
from .blocks import UNREADABLE, BadRange, bad_ranges
from .ids import id_problems
from .lost import LostNames
from .report import Findings, LostDocuments
from .text import sqlite_problems, text_problems


class SegmentCheck:
    """Checks one segment; `damaged` tells the outcome afterwards.

    Args:
        directory: of the index.
        ref: what the manifest says of it.
        dim: components per embedding.
        bits: of the codec it is read with; not used for flat ones.
        findings: where damage is noted.

    Attributes:
        damaged: the first damaged file; None for a sound segment.
        files: open; None where the segment cannot be opened.
    """

    def __init__(
        self, directory: Directory, ref: SegmentRef, *, dim: int, bits: int, findings: Findings
    ) -> None:
        self._directory = directory
        self.ref = ref
        self._dim, self._bits = dim, bits
        self._findings = findings
        self._bad_arrays: list[BadRange] | None = None
        self._text_is_sound = False
        self._codec_is_lost = False
        self.damaged: str | None = None
        self.files: SegmentFiles | None = None

    def run(self) -> None:
        """Check everything; never stops at the first damage."""
        tables = self._read_checksums()
        if tables is None:
            self._check_lengths()
            return
        self._bad_arrays = self._check_bytes(ARRAYS_FILE, self.ref.arrays_bytes, tables)
        bad_text = self._check_bytes(PASSAGES_FILE, self.ref.passages_bytes, tables)
        if not self._bad_arrays:
            self._check_arrays()
        if not bad_text:
            self._text_is_sound = self._check_text()

    def codec_is_lost(self, codec: str) -> None:
        """Note that the segment cannot be read, whatever its own files say."""
        self.damaged = codec
        self._codec_is_lost = True

    @property
    def id_table(self) -> IdTable:
        """The ids of a sound segment."""
        return self._opened().passages.id_table

    def sequence(self, docno: int) -> int:
        """The sequence of a document of a sound segment."""
        stored = self._opened().sequences
        return self.ref.sequence if stored is None else int(stored[docno])

    def _opened(self) -> SegmentFiles:
        if self.files is None:
            raise ValueError(f"segment {self.ref.id} is not sound")
        return self.files

    def lost(self, dead: Sequence[U32]) -> LostDocuments:
        """The documents that go with the segment; called for a damaged one.

        Args:
            dead: docnos that tombstones name.
        """
        cause = self.damaged or self._name(ARRAYS_FILE)
        dead_docnos = np.unique(np.concatenate([np.empty(0, dtype=np.uint32), *dead]))
        if self.ref.n_documents > self._found_bytes():
            return LostDocuments(self.ref.id, (), self.ref.n_documents - len(dead_docnos), cause)
        names = LostNames(self._directory, self.ref, self._bad_arrays, self._text_is_sound)
        return names.find(dead_docnos, cause)

    def _found_bytes(self) -> int:
        """Length of the files that are there: what the manifest says of rows may be a lie."""
        found_bytes = 0
        for file in (ARRAYS_FILE, PASSAGES_FILE):
            if self._directory.exists(self._name(file)):
                found_bytes += self._directory.status(self._name(file)).size_bytes
        return found_bytes

    def close(self) -> None:
        """Let go of the files."""
        if self.files is not None:
            self.files.close()
            self.files = None

    def _name(self, file: str) -> str:
        return segment_file(self.ref.id, file)

    def _add(
        self, file: str, problem: str, bad: BadRange | None = None, *, unreadable: bool = False
    ) -> None:
        name = self._name(file)
        self.damaged = self.damaged or name
        self._findings.add(
            name,
            problem,
            f"segment {self.ref.id} of {self.ref.n_documents:,} documents",
            offset=None if bad is None else bad.offset,
            size_bytes=None if bad is None else bad.size_bytes,
            segment=self.ref.id,
            unreadable=unreadable,
        )

    def _read_checksums(self) -> dict[str, U32] | None:
        self._findings.read(self.ref.checksums.size_bytes)
        try:
            tables = read_tensors(self._directory, self._name(CHECKSUMS_FILE), self.ref.checksums)
        except (CorruptIndexError, StorageError) as error:
            if isinstance(error, StorageError) and not is_media_error(error):
                raise
            problem = words(error, self._name(CHECKSUMS_FILE))
            self._add(CHECKSUMS_FILE, problem, unreadable=isinstance(error, StorageError))
            return None
        sizes = {ARRAYS_FILE: self.ref.arrays_bytes, PASSAGES_FILE: self.ref.passages_bytes}
        for file, size_bytes in sizes.items():
            table = tables.get(file)
            blocks = (-(-size_bytes // (1 << 16)),)
            if table is None or table.dtype != np.uint32 or table.shape != blocks:
                self._add(CHECKSUMS_FILE, f"has no usable checksums of {file}")
                return None
        return tables

    def _check_lengths(self) -> None:
        """All that can be said of files whose checksums are lost."""
        for file, size_bytes in (
            (ARRAYS_FILE, self.ref.arrays_bytes),
            (PASSAGES_FILE, self.ref.passages_bytes),
        ):
            self._findings.read(0)
            try:
                found = self._directory.status(self._name(file)).size_bytes
            except FileNotFoundError:
                self._add(file, "is missing")
                continue
            if found != size_bytes:
                self._add(file, f"has {found} bytes instead of {size_bytes}")

    def _check_bytes(self, file: str, size_bytes: int, tables: dict[str, U32]) -> list[BadRange]:
        self._findings.read(size_bytes)
        bad = bad_ranges(self._directory, self._name(file), size_bytes, tables[file])
        for found in bad:
            self._add(file, found.problem, found, unreadable=found.problem == UNREADABLE)
        return bad

    def _check_arrays(self) -> None:
        try:
            self.files = SegmentFiles(
                self._directory, self.ref, dim=self._dim, bits=self._bits, mmap=True
            )
            table = self.files.passages.id_table
        except CorruptIndexError as error:
            self._add(ARRAYS_FILE, words(error, self._name(ARRAYS_FILE)))
            self.close()
            return
        problems = [*array_problems(self.files, lists=not self._codec_is_lost), *id_problems(table)]
        for problem in problems:
            self._add(ARRAYS_FILE, problem)
        if problems:
            self.close()

    def _check_text(self) -> bool:
        name = self._name(PASSAGES_FILE)
        path = self._directory.readable_path(name)
        try:
            with closing(connect(path, name, self.ref.passages_bytes)) as connection:
                if self.files is None:
                    problems = list(sqlite_problems(connection))
                else:
                    problems = list(text_problems(connection, self.files))
        except SQLITE_ERRORS as error:
            problems = [words(_corrupt(error, name), name)]
        except CorruptIndexError as error:
            problems = [words(error, name)]
        for problem in problems:
            self._add(PASSAGES_FILE, problem)
        return not problems


def _corrupt(error: Exception, name: str) -> CorruptIndexError:
    """An error of SQLite as damage, raised where it is one of the machine.

    Reading is not: all bytes were read a moment ago, so that SQLite looked for more of them.
    """
    found = translated(error, name)
    if isinstance(found, CorruptIndexError):
        return found
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
        return CorruptIndexError(f"{name}: SQLite reads beyond its end: {error}.")
    raise found from error


def words(error: BaseException, name: str) -> str:
    """An error's message without the file that it begins with, and without advice."""
    text = str(error).removeprefix(name).lstrip(": ")
    return text.partition(": restore")[0].rstrip(".")
