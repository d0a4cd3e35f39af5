"""Harnesses of a segment's two files: arrays, and the SQLite file with ids, text and metadata."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Final

from .mutation import RAW, edited_bytes
from .safetensors_files import MalformedError, edited_file, tensors_of
from .sample_index import manifest_of, seal
from .source import Source
from .storage import OverIndex

ID_TENSORS: Final = ("id_bytes", "id_offsets", "id_hashes", "id_docnos", "id_bloom")
IVF_TENSORS: Final = ("ivf_lengths", "ivf_centroids", "ivf_pids", "codes")
SHAPE_TENSORS: Final = ("doclens", "passage_document", "sequences")
FOCUS: Final = ((), ID_TENSORS, IVF_TENSORS, SHAPE_TENSORS)


class SegmentArrays(OverIndex):
    """A segment's arrays with sound checksums: codes, pids and offsets reach the kernels."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        self.choose(source)
        name = source.choice(self.named("arrays.safetensors"))
        focus = source.choice(FOCUS)
        fits = source.flag()
        change = source.flag(8)
        content = self.files[name]
        for _ in source.edits():
            content = edited_file(source, content, focus)
        manifest = manifest_of(self.files)
        if fits:
            _fit_counts(manifest, name, content)
        self.serve(seal({**self.files, name: content}, {name}, manifest), source, change=change)


def _fit_counts(manifest: dict[str, Any], name: str, content: bytes) -> None:
    """Let the manifest agree with the edited arrays on numbers of rows."""
    segment = next(s for s in manifest["segments"] if s["id"] in name)
    try:
        tensors = tensors_of(content)
        segment["n_passages"] = len(tensors["doclens"])
        segment["n_tokens"] = max(1, int(tensors["doclens"].sum()))
        segment["n_documents"] = len(tensors["id_hashes"])
    except (MalformedError, LookupError, TypeError, OverflowError, ValueError):
        return


COLUMNS: Final = (
    ("documents", "docno"), ("documents", "id"), ("documents", "language"),
    ("documents", "metadata"), ("documents", "text"), ("passages", "pid"), ("passages", "docno"),
    ("passages", "ordinal"), ("passages", "start"), ("passages", "end"), ("metadata", "key"),
    ("metadata", "kind"), ("metadata", "value"), ("metadata", "docno"), ("metadata", "role"),
)  # fmt: skip
MANY_CHARACTERS: Final = 500_000
ENDLESS: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
STATEMENTS: Final = (
    "DROP TABLE {table}",
    "DELETE FROM {table} WHERE rowid % 3 = 1",
    "ALTER TABLE {table} ADD COLUMN more",
    "ALTER TABLE {table} RENAME TO other",
    "ALTER TABLE {table} RENAME TO other; CREATE VIEW {table} AS SELECT * FROM other",
    "ALTER TABLE {table} RENAME TO other; CREATE VIEW {table} AS " + ENDLESS
    + " SELECT o.* FROM n, other o",
    "ALTER TABLE documents RENAME TO other; CREATE VIEW documents AS SELECT docno, id, language, "
    "metadata, zeroblob(900000000) AS text FROM other",
    "ALTER TABLE passages RENAME TO other; CREATE TABLE passages(pid, docno, ordinal, start, "
    "end); INSERT INTO passages SELECT * FROM other; INSERT INTO passages SELECT * FROM other",
    "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
    "CREATE INDEX i ON {table}(rowid)",
    "ALTER TABLE documents RENAME TO other; CREATE TABLE documents(docno INTEGER PRIMARY KEY, id, "
    "language, metadata, body, text AS (zeroblob(500000000))); INSERT INTO documents SELECT docno,"
    " id, language, metadata, text FROM other",
    "ALTER TABLE metadata RENAME TO other; CREATE VIEW metadata AS " + ENDLESS
    + " SELECT 'n' AS key, 0 AS role, 2 AS kind, i AS value, i AS docno FROM n",
    "PRAGMA user_version = 7",
    "PRAGMA auto_vacuum = 1; VACUUM",
    "PRAGMA encoding = 'UTF-16le'; VACUUM",
    "PRAGMA page_size = 65536; VACUUM",
    "UPDATE documents SET metadata = replace(hex(zeroblob(200)), '00', '[')",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'x' WHERE name = '{table}'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2 WHERE name = '{table}'",
)  # fmt: skip


class PassagesFile(OverIndex):
    """A SQLite file that an attacker wrote, by SQL or by its bytes, with sound checksums."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        self.choose(source)
        name = source.choice(self.named("passages.sqlite"))
        content = self.files[name]
        as_bytes = source.flag(4)
        for _ in source.edits():
            content = edited_bytes(source, content) if as_bytes else self._by_sql(source, content)
        self.serve(seal({**self.files, name: content}, {name}), source, change=source.flag(16))

    def _by_sql(self, source: Source, content: bytes) -> bytes:
        """The file after one statement of the attacker's."""
        path = self.folder / "attacker.sqlite"
        path.write_bytes(content)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA journal_mode = MEMORY")
                connection.execute("PRAGMA synchronous = OFF")
                _attack(source, connection)
            except (sqlite3.Error, OverflowError, UnicodeEncodeError):
                return content
        return path.read_bytes()


def _attack(source: Source, connection: sqlite3.Connection) -> None:
    if source.flag(3):
        table = source.choice(("documents", "passages", "metadata", "fulltext"))
        connection.executescript(source.choice(STATEMENTS).replace("{table}", table))
        return
    table, column = source.choice(COLUMNS)
    value = _value(source)
    # One row only where the value is long: an attacker's file of gigabytes shows nothing new.
    all_rows = source.flag(4) and len(str(value)) < MANY_CHARACTERS
    where = "" if all_rows else f" WHERE {column} = (SELECT {column} FROM {table} LIMIT 1)"
    connection.execute(f"UPDATE {table} SET {column} = ?{where}", (value,))


def _value(source: Source) -> Any:
    """A value of one of SQLite's types, JSON of any kind among them."""
    kind = source.below(7)
    if kind == 0:
        return source.number()
    if kind == 1:
        return source.text()
    if kind == 2:
        return source.take(source.below(64))
    if kind == 3:
        return source.choice((0.5, float("inf"), None, -1, 10**15))
    if kind == 4:
        return source.choice(RAW)
    if kind == 5:
        return source.choice(("{}", "[]", "null", "1", '"x"', '{"a":NaN}', '{"a":{"a":{}}}'))
    return "x" * source.choice((1, 10**3, MANY_CHARACTERS))
