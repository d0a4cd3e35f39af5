"""Harnesses of the ingestion queue: submissions, and an inbox in which anybody may write."""

from __future__ import annotations

import shutil
from functools import cached_property
from typing import Any, Final

from word_encoder import WordEncoder

import weft
from weft.engine.storage.checksums import checksum
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.sequences import Applied
from weft.workers import BatchLimits, Client, Watcher, dead_letters, drop, retry
from weft.workers.context import IngestContext
from weft.workers.drain import Drain
from weft.workers.inbox import Inbox
from weft.workers.metrics import Observer
from weft.workers.submissions import (
    MAX_SUBMISSION_BYTES,
    check_submission,
    decode_header,
    decode_submission,
)

from .base import Harness
from .mutation import edited_bytes, edited_json, json_bytes
from .source import Source
from .using import attempt

HEADER: Final = {"weft_submission": 1, "operations": 3, "submitted": 1.5e9, "token": "a" * 32}
OPERATIONS: Final = (
    {"id": "a", "text": "warp threads", "metadata": {"n": 1, "deep": {"x": [True]}}},
    {"id": "b", "text": "weft threads", "language": "en"},
    {"delete": "c"},
)
LEASE: Final = "worker." + "0" * 32
NAMES: Final = (
    *(f"{number:016d}" for number in (0, 1, 2, 3, 5, 4096, 2**53 - 1, 10**16 - 1)),
    *(f"{1:016d}.try{n}" for n in range(1, 10)),
    *(f"{number:016d}.dead" for number in (1, 2, 5)),
    f"{2:016d}.try3",
    f"{2:016d}.try0",
    f"{3:016d}.tryx",
    f"{3:016d}.try1.dead",
    f"{LEASE}.lease",
    "worker..lease",
    ".lease",
    "maintenance.lease",
    "１" * 16,
    "README",
)  # fmt: skip
SUFFIXES: Final = (b"", b"\n", b"\0", b"\r\n", b"{}", b"\xff")


def submission(source: Source) -> bytes:
    """A submission with some edits; its counts and checksum are right now and then."""
    header: Any = dict(HEADER)
    lines: list[Any] = [dict(operation) for operation in OPERATIONS]
    for _ in source.edits():
        if source.flag(3):
            header = edited_json(source, header)
        else:
            lines = edited_json(source, lines)
            lines = lines if isinstance(lines, list) else [lines]
    body = b"".join(json_bytes(line) + b"\n" for line in lines)
    if isinstance(header, dict) and not source.flag(8):
        header = {"operations": len(lines), **header, "crc32c": checksum(body)}
        header["operations"] = len(lines)
    data = json_bytes(header) + b"\n" + body
    return edited_bytes(source, data) if source.flag(8) else data


class SubmissionFile(Harness):
    """The file of a submission, decoded; what comes out must be something that may go in."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        content = submission(source) + source.choice(SUFFIXES)
        attempt(lambda: decode_header(content))
        found = attempt(lambda: decode_submission(content))
        if found is not None:
            checked = check_submission(found.documents, found.deletions)
            assert len(checked) + len(found.deletions) == found.n_operations
            assert found.n_characters <= MAX_SUBMISSION_BYTES


class InboxFiles(Harness):
    """Files of any name and content in the inbox, looked at, drained, retried and dropped."""

    @cached_property
    def made(self) -> str:
        """An index of one document."""
        path = self.folder / "made"
        with weft.Index.create(path, encoder=WordEncoder()) as index:
            index.add(["here before"], ids=["before"])
        return str(path)

    def run(self, data: bytes) -> None:
        source, path = Source(data), self.folder / "index"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.made, path)
        with Client(path) as client:
            for id in ("first", "second"):
                client.submit([weft.Document(id, "waits")])
        for _ in source.edits():
            name = source.choice(NAMES)
            (path / "inbox" / name).write_bytes(self._content(source, name))
        self._look(path)
        self._drain(path)
        attempt(lambda: retry(path, [letter.sequence for letter in dead_letters(path)]))
        self._drain(path)
        attempt(lambda: drop(path, [letter.sequence for letter in dead_letters(path)]))
        self._goes_on(path)

    def _content(self, source: Source, name: str) -> bytes:
        kind = source.below(4)
        if kind == 0:
            return source.take(source.below(32))
        if kind == 1:
            return LEASE.encode()
        if kind == 2:
            reasons = edited_json(source, {"reasons": {"a": "cannot be encoded", "": "damaged"}})
            return json_bytes(reasons)
        return submission(source)

    def _look(self, path: Any) -> None:
        inbox = Inbox(LocalDirectory(path))
        entries = inbox.entries(Applied())
        inbox.n_operations(entries)
        list(inbox.dead_letters(Applied()))
        attempt(lambda: Watcher(path).look())
        with Client(path) as client:
            for entry in entries:
                attempt(lambda s=entry.sequence: client.status(f"{s:016d}"))

    def _drain(self, path: Any) -> None:
        with IngestContext(path, encoder=WordEncoder(), threads=1) as context:
            attempt(lambda: Drain(context, BatchLimits(), Observer()).run(5))

    def _goes_on(self, path: Any) -> None:
        """Whatever lay there, what is submitted now is applied, unless there is no number left."""
        with Client(path) as client:
            id = attempt(lambda: client.submit([weft.Document("new", "goes on")]))
            if id is None or list((path / "inbox").glob(f"{id}.*")):
                # Somebody says of what was not there yet that it is in hand, or set aside.
                return
            self._drain(path)
            assert client.status(id).state == "committed", id
        with weft.Index.open(path, encoder=WordEncoder(), threads=1) as index:
            assert index.get("new") is not None
