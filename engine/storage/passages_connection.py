"""SQLite connections to a file that somebody else may have written.

Such a file is our schema and nothing else, or it is refused; what a statement may cost is bounded
by the length of the file, so that pages that lead in circles end in an error.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from ..errors import CorruptIndexError, StorageError
from .disk_errors import OUT_OF_DESCRIPTORS
from .passages_writer import SCHEMA

MAX_VALUE_BYTES: Final = 16 * 2**20
"""Longest text, blob or row: four times the longest document in UTF-8."""

MIN_VALUE_BYTES: Final = 2**20
"""What a value may be in the shortest of files."""

STEP_BATCH: Final = 20_000
"""SQLite's steps between two looks at the budget."""

MIN_STEPS: Final = 2_000_000
STEPS_PER_BYTE: Final = 4
"""A statement that visits every row of a file takes about one step per byte of it."""

LIMITS: Final[Mapping[int, int]] = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 64 * 1024,
    sqlite3.SQLITE_LIMIT_COLUMN: 32,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 4,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 8,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

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

SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file makes SQLite raise; the second where its complaint quotes broken text."""

VOCABULARIES: Final = (
    # They stand in memory beside the file, and are made before nothing more may be written.
    "PRAGMA temp_store = MEMORY",
    "CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'fulltext', 'row')",
    "CREATE VIRTUAL TABLE temp.occurrences USING fts5vocab('main', 'fulltext', 'instance')",
)
"""Tables through which the inverted lists of the full text are read."""

PRAGMAS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -1024",
)

SHADOW_TABLES: Final = (
    ("fulltext_data", "CREATE TABLE 'fulltext_data'(id INTEGER PRIMARY KEY, block BLOB)"),
    (
        "fulltext_idx",
        "CREATE TABLE 'fulltext_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID",
    ),
    ("fulltext_docsize", "CREATE TABLE 'fulltext_docsize'(id INTEGER PRIMARY KEY, sz BLOB)"),
    ("fulltext_config", "CREATE TABLE 'fulltext_config'(k PRIMARY KEY, v) WITHOUT ROWID"),
)
"""The tables that FTS5 keeps its index in, as it has declared them ever since."""

Entry = tuple[str, str, str, str | None]


class PassagesConnection(sqlite3.Connection):
    """A connection that interrupts a statement which takes too many steps."""

    _steps = MIN_STEPS
    _left = MIN_STEPS

    def restrict(self, size_bytes: int) -> None:
        """Set the limits for a file of this length."""
        for category, limit in LIMITS.items():
            self.setlimit(category, limit)
        longest = min(MAX_VALUE_BYTES, max(MIN_VALUE_BYTES, size_bytes))
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        if sys.version_info >= (3, 12):
            self.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
            self.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
            self.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
        self._steps = MIN_STEPS + STEPS_PER_BYTE * size_bytes
        self.set_progress_handler(self._spend, STEP_BATCH)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement with a budget of its own."""
        self._left = self._steps
        return super().execute(sql, parameters)

    def _spend(self) -> bool:
        """Whether to interrupt."""
        self._left -= STEP_BATCH
        return self._left < 0


def connect(path: Path, name: str, size_bytes: int) -> PassagesConnection:
    """Open the SQLite file of a segment, read-only, if its schema is ours.

    Args:
        path: of the file.
        name: for messages.
        size_bytes: of the file.

    Raises:
        CorruptIndexError: another schema.
        sqlite3.Error, UnicodeDecodeError: SQLite refuses the file.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        factory=PassagesConnection,
    )
    try:
        connection.restrict(size_bytes)
        for statement in (*VOCABULARIES, *PRAGMAS):
            connection.execute(statement)
        _require_schema(connection, name)
    except BaseException:
        connection.close()
        raise
    return connection


def translated(error: Exception, name: str) -> CorruptIndexError | StorageError:
    """What SQLite says about a file, apart from what it says about the machine."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code == sqlite3.SQLITE_CANTOPEN:
        return StorageError(
            f"{name}: SQLite cannot open it now. Check permissions; if too many files are open, "
            f"{OUT_OF_DESCRIPTORS}."
        )
    if code in MACHINE_ERRORS:
        return StorageError(f"{name}: SQLite cannot read it now: {error}.")
    if code == sqlite3.SQLITE_INTERRUPT:
        return CorruptIndexError(
            f"{name}: a look-up takes more steps than a file of its length can need."
        )
    return CorruptIndexError(f"{name}: SQLite cannot read it: {error}.")


def _require_schema(connection: sqlite3.Connection, name: str) -> None:
    """Refuse views, triggers, indexes, foreign virtual tables and altered tables."""
    expected = _expected_schema()
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    found = [(*row[:3], _stripped(row[3])) for row in rows.fetchmany(len(expected) + 1)]
    if len(found) != len(expected) or set(found) != expected:
        foreign = [str(entry[1]) for entry in found if entry not in expected]
        culprit = f"it holds {foreign[0]!r:.60}" if foreign else "a table is missing"
        raise CorruptIndexError(f"{name}: its tables are not Weft's: {culprit}.")


def _stripped(sql: Any) -> Any:
    return sql.strip() if isinstance(sql, str) else sql


@cache
def _expected_schema() -> frozenset[Entry]:
    """What `sqlite_master` says of our tables."""
    tables = ["documents", "passages", "metadata", "fulltext"]
    own = [(table, statement.strip()) for table, statement in zip(tables, SCHEMA, strict=True)]
    return frozenset(("table", table, table, sql) for table, sql in (*own, *SHADOW_TABLES))
