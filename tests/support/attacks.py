"""What an attacker may hand over: a function per attack that spoils an index under sound checksums.

Run as a program it carries out all attacks and prints one JSON line of outcomes for each.
"""

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from forgery import (
    ARRAYS,
    PASSAGES,
    forge_arrays,
    forge_bytes,
    forge_file,
    forge_manifest,
    forge_sqlite,
    seal_segment,
    segment_folder,
)
from sqlite_pages import endless_metadata, endless_text, root_page

import weft

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
RENAME = "ALTER TABLE {} RENAME TO other"
MEMORY_BYTES = 1 << 30
Attack = Callable[[Path], None]
ATTACKS: dict[str, Attack] = {}


def sql(name: str, *statements) -> None:
    ATTACKS[f"sqlite: {name}"] = lambda root: forge_sqlite(root, *statements)


def update(name: str, column: str, value) -> None:
    table = "passages" if column in ("start", "end", "ordinal", "pid") else "documents"
    sql(name, (f"UPDATE {table} SET {column} = ?", (value,)))


sql("endless view", RENAME.format("documents"), "CREATE VIEW documents AS " + ENDLESS
    + " SELECT docno, id, language, metadata, text FROM n, other")  # fmt: skip
sql("endless metadata view", RENAME.format("metadata"), "CREATE VIEW metadata AS " + ENDLESS
    + " SELECT 'version' AS key, 0 AS role, 2 AS kind, 1 AS value, i AS docno FROM n")  # fmt: skip
sql("view of a huge blob", RENAME.format("documents"), "CREATE VIEW documents AS SELECT docno, id, "
    "language, metadata, CAST(zeroblob(900000000) AS TEXT) AS text FROM other")  # fmt: skip
sql("generated column", RENAME.format("documents"), "CREATE TABLE documents(docno INTEGER PRIMARY "
    "KEY, id, language, metadata, text AS (CAST(zeroblob(500000000) AS TEXT)))")  # fmt: skip
sql("trigger", "CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM documents; END")
sql("foreign virtual table", "CREATE VIRTUAL TABLE v USING fts5(x)")
sql("index", "CREATE INDEX i ON documents(id)")
sql("statistics", "ANALYZE")
sql("a thousand tables", *[f"CREATE TABLE t{n}(x)" for n in range(1000)])
sql("missing table", "DROP TABLE metadata")
sql("more columns", "ALTER TABLE documents ADD COLUMN x")
sql("schema that is no SQL", "UPDATE sqlite_master SET sql = 'x' WHERE name = 'documents'")
sql("schema that is no UTF-8", "UPDATE sqlite_master SET sql = CAST(x'ff20' AS TEXT)")
sql("schema that is huge", "UPDATE sqlite_master SET sql = sql || printf('%.*c', 200000, ' ')")
sql("root page of another", "UPDATE sqlite_master SET rootpage = 3 WHERE name = 'documents'")
sql("root page beyond the end", "UPDATE sqlite_master SET rootpage = 99999")
sql("no rows", "DELETE FROM documents", "DELETE FROM passages", "DELETE FROM metadata")
sql("other encoding", "PRAGMA encoding = 'UTF-16le'", "VACUUM")
sql("large pages", "PRAGMA page_size = 65536", "VACUUM")
sql("write-ahead log", "PRAGMA journal_mode = WAL")
sql("full-text blocks", "UPDATE fulltext_data SET block = randomblob(4000)")
sql("full-text structure", "UPDATE fulltext_data SET block = zeroblob(9) WHERE id < 11")
sql("full-text settings", "UPDATE fulltext_config SET v = 99999999999")
sql("full-text lengths that are text", "UPDATE fulltext_docsize SET sz = 'x'")
sql("full-text lengths that are huge", "UPDATE fulltext_docsize SET sz = x'ffffff7f'")
sql("full-text lengths that are long", "UPDATE fulltext_docsize SET sz = zeroblob(100000)")
sql("full-text lengths that are missing", "DELETE FROM fulltext_docsize WHERE id > 2")
sql("full text of other documents", "UPDATE fulltext_docsize SET id = id + 1000000")
sql("full text of unknown documents", "INSERT INTO fulltext(rowid, text) VALUES (1000000, "
    "'word')", "INSERT INTO fulltext(rowid, text) VALUES (-5, 'word')")  # fmt: skip
sql("metadata of unknown documents", "UPDATE metadata SET docno = docno + 1000000")
sql("metadata of text as documents", "UPDATE metadata SET docno = 'x' || docno")
update("metadata nested deeply", "metadata", '{"a":' + "[" * 30_000 + "]" * 30_000 + "}")
update("metadata nested less deeply", "metadata", '{"a":' * 300 + "1" + "}" * 300)
update("metadata that is huge", "metadata", json.dumps({"a": "x" * 2_000_000}))
update("metadata with a number of many digits", "metadata", '{"a":' + "9" * 60_000 + "}")
update("metadata that is not finite", "metadata", '{"a":NaN}')
update("metadata that is a list", "metadata", "[1]")
update("metadata with a lone surrogate", "metadata", r'{"a":"\ud800"}')
update("metadata that is a blob", "metadata", b"{}")
update("text that is too long", "text", "x" * 1_500_000)
update("text that is a number", "text", 7)
update("text that is no UTF-8", "text", b"\xff\xfe")
update("an id that is huge", "id", "x" * 100_000)
update("an id that is a number", "id", 2**60)
update("a language that is huge", "language", "x" * 100_000)
update("a span that is text", "start", "here")
update("a span that is negative", "start", -5)
update("a span that is huge", "end", 2**62)
update("an ordinal that is a fraction", "ordinal", 0.5)


def attack(name: str) -> Callable[[Attack], Attack]:
    def register(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return register


def by_pages(root: Path, table: str, change: Callable[[bytearray, int], None]) -> None:
    number = root_page(segment_folder(root) / PASSAGES, table)
    forge_bytes(root, lambda data: change(data, number))


@attack("sqlite: a tree that leads in circles")
def _endless_tree(root: Path) -> None:
    by_pages(root, "metadata", endless_metadata)


@attack("sqlite: a text longer than the file")
def _endless_text(root: Path) -> None:
    by_pages(root, "documents", lambda data, page: endless_text(data, page, 17, 900_000))


@attack("sqlite: a text longer than any row")
def _endless_row(root: Path) -> None:
    by_pages(root, "documents", lambda data, page: endless_text(data, page, 17, 900_000_000))


@attack("sqlite: no database")
def _no_database(root: Path) -> None:
    forge_bytes(root, lambda data: data.__setitem__(slice(0, 16), b"x" * 16))


@attack("sqlite: empty")
def _empty(root: Path) -> None:
    forge_bytes(root, lambda data: data.clear())


def tensors(name: str, change: Callable[[dict], None], number: int = 0, **fields) -> None:
    ATTACKS[f"arrays: {name}"] = lambda root: forge_arrays(root, change, number, **fields)


def put(key: str, where, value) -> Callable[[dict], None]:
    return lambda tensors: tensors[key].__setitem__(where, value)


tensors("codes beyond the codec", put("codes", slice(None), 65535))
tensors("pids beyond the segment", put("ivf_pids", slice(None), 2**32 - 1))
tensors("lists of other lengths", put("ivf_lengths", slice(None), 2**32 - 1))
tensors("doclens of zero", put("doclens", slice(None), 0))
tensors("doclens that wrap around", put("doclens", slice(None), 2**32 - 1))
tensors("documents beyond the segment", put("passage_document", -1, 2**32 - 1))
tensors("ids that are no UTF-8", put("id_bytes", slice(None), 0xFF))
tensors("offsets of ids that wrap around", put("id_offsets", slice(1, 3), [2**63 - 1, -(2**63)]))
tensors("docnos of ids beyond the segment", put("id_docnos", 0, 2**32 - 1))
tensors("equal hashes", put("id_hashes", slice(None), 7))
tensors("embeddings that are not numbers", put("embeddings", slice(None), np.nan), 2)
tensors("embeddings that are infinite", put("embeddings", (slice(None), 0), np.inf), 2)
tensors("sequences of the far future", put("sequences", slice(None), 2**64 - 1))
tensors("a missing tensor", lambda t: t.pop("codes"))
tensors("another dtype", lambda t: t.update(codes=t["codes"].astype(np.float64)))
tensors("no hashes", lambda t: t.update(id_bloom=t["id_bloom"][:0]))


def header(name: str, text: str) -> None:
    """A safetensors file of a header and nothing else, in place of the arrays."""

    def write(root: Path) -> None:
        data = text.encode()
        path = segment_folder(root) / ARRAYS
        path.write_bytes(len(data).to_bytes(8, "little") + data)
        seal_segment(root)

    ATTACKS[f"header: {name}"] = write


def entry(shape: list, offsets=(0, 0), dtype="U8") -> str:
    return json.dumps({"doclens": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})


header("nested deeply", '{"a":' * 100_000 + "1" + "}" * 100_000)
header("empty tensor of vast axes", entry([0, 2**47, 2**47, 2**47]))
header("many axes", entry([1] * 1000, (0, 1)))
header("vast tensor", entry([2**47], (0, 2**47)))
header("shape that is text", entry("123"))
header("dtype that is a list", entry([1], (0, 1), ["U8"]))
header("no object", "[]")
header("no JSON", "{")


def fields(name: str, change: Callable[[dict], None]) -> None:
    ATTACKS[f"manifest: {name}"] = lambda root: forge_manifest(root, change)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


fields("a segment twice", lambda m: m["segments"].append(m["segments"][0]))
fields("more passages than there are", lambda m: m["segments"][0].update(n_passages=2**31))
fields("more documents than there are", lambda m: m["segments"][0].update(n_documents=2**31))
fields("more tokens than there are", lambda m: m["segments"][0].update(n_tokens=2**47))
fields("a vast file", lambda m: m["segments"][0].update(arrays_bytes=2**47))
fields("vast checksums", lambda m: m["segments"][0]["checksums"].update(size_bytes=2**47))
fields("a vast codec", lambda m: m["codecs"][0]["file"].update(size_bytes=2**47))
fields("vast tombstones", lambda m: m["tombstones"][0]["file"].update(size_bytes=2**47))
fields("a path as an id", lambda m: m["segments"][0].update(id="../../../../etc/passwd"))
fields("another dim", lambda m: m.update(dim=4096))
fields("another kind", lambda m: m["segments"][0].update(kind="flat"))
fields("nesting where a number should be", lambda m: m.update(dim=nested(200)))
fields("vast centroids", lambda m: m["codecs"][0].update(n_centroids=2**32 - 1))


def codec(name: str, change: Callable[[dict], None]) -> None:
    ATTACKS[f"codec: {name}"] = lambda root: forge_file(root, "codec", change)


codec("centroids that are not numbers", put("centroids", 0, np.nan))
codec("fewer centroids", lambda t: t.update(centroids=t["centroids"][:1]))
codec("infinite weights", put("bucket_weights", 0, np.inf))
codec("descending cutoffs", put("bucket_cutoffs", 0, 1e30))
codec("a range of zero", put("inverse_norm_range", slice(None), 0))


def tombstones(name: str, change: Callable[[dict], None]) -> None:
    ATTACKS[f"tombstones: {name}"] = lambda root: forge_file(root, "tombstones", change)


tombstones("rows beyond the segment", put("row_docnos", slice(None), 2**32 - 1))
tombstones("counts that wrap around", put("row_counts", slice(None), 2**32 - 1))
tombstones("offsets beyond the ids", lambda t: t.update(id_offsets=t["id_offsets"] + 2**62))


QUERY = np.eye(8, dtype=np.float32)[:3]
WORDS = "word of document d17 version text 17"
STEPS: dict[str, Callable[[weft.Index], object]] = {
    "ids": lambda index: list(index.ids()),
    "get": lambda index: index.get([f"d{n}" for n in range(60)]),
    "get one": lambda index: index.get("d17"),
    "stats": lambda index: index.stats(),
    "search": lambda index: index.search(QUERY, k=100),
    "exact": lambda index: index.search(QUERY, k=100, exact=True),
    "probe": lambda index: index.search(QUERY, k=1, nprobe=1, ndocs=1),
    "passages": lambda index: index.search(QUERY, k=9, group_by="passage"),
    "hybrid": lambda index: index.search(QUERY, hybrid="rrf", query_text=WORDS),
    "words": lambda index: index.search(QUERY, k=50, hybrid=0, query_text=WORDS),
    "filter": lambda index: index.search(QUERY, filter={"version": {"$gte": 0}}),
    "filter on k": lambda index: index.search(QUERY, filter={"k": {"$exists": True}}),
    "contains": lambda index: index.search(QUERY, filter={"name": {"$contains": "d"}}),
    "delete": lambda index: index.delete(["d17", "d1000"]),
    "add": lambda index: index.upsert(ids=["d18", "n"], embeddings=[QUERY, QUERY]),
    "maintain": lambda index: index.maintain(),
    "compact": lambda index: index.compact(),
    "close": lambda index: index.close(),
}


def use(root: Path) -> dict[str, str]:
    """Everything that a user does with an index; what each step raised."""
    reports: list[Any] = []
    outcomes: dict[str, str] = {"check": outcome(lambda: reports.append(weft.check(root)))}
    if reports:
        outcomes["check"] = "sound" if reports[0].ok else "damaged"
    opened: list[weft.Index] = []
    outcomes["open"] = outcome(lambda: opened.append(weft.Index.open(root)))
    for index in opened:
        for name, step in STEPS.items():
            outcomes[name] = outcome(lambda step=step, index=index: step(index))
    outcomes["repair"] = outcome(lambda: weft.repair(root))
    return outcomes


def outcome(step: Callable[[], object]) -> str:
    try:
        step()
    except weft.errors.WeftError as error:
        return type(error).__name__
    except Exception as error:  # noqa: BLE001 whatever else comes out is a leak
        return f"leaked {type(error).__name__}: {error}"
    return "ok"


def main(built: Path, work: Path) -> None:
    """Carry out all attacks, in bounded memory."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    for name, carry_out in ATTACKS.items():
        root = Path(shutil.copytree(built, work / "index"))
        carry_out(root)
        started = time.perf_counter()
        found = use(root)
        seconds = time.perf_counter() - started
        print(json.dumps({"name": name, "seconds": seconds, "outcomes": found}), flush=True)
        shutil.rmtree(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
