"""The inbox: changes that wait on the shared storage, and the files that go with them.

    inbox/<sequence>             the change, acknowledged once its name is durable
    inbox/<sequence>.try<n>      somebody is at it, or was, for the n-th time; holds who
    inbox/<sequence>.at<n>       the last attempt is at its n-th document, from 0
    inbox/<sequence>.dead        it is set aside, and why

Redis only carries word of them: whatever it loses, lies here.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..engine.errors import InvalidSubmissionError, StorageError
from ..engine.storage.claims import take_sequence
from ..engine.storage.directory import Directory
from ..engine.storage.files import discard_file, remove_file
from ..engine.storage.layout import INBOX, submission_name, temporary_name
from ..engine.storage.sequences import MAX_SEQUENCE, Applied
from .submissions import HEADER_BYTES, MAX_SUBMISSION_BYTES, Header, decode_header

MAX_ATTEMPT: Final = 99
"""The highest number that an attempt can have."""

BEGINNING_SECONDS: Final = 5.0
"""Between the making of an attempt's file and its content, at the longest."""

MAX_REASON_CHARACTERS: Final = 2000
"""Length of a reason for which a document was set aside."""

_NAME: Final = re.compile(r"([0-9]{16})(?:\.(?:try([0-9]{1,2})|at([0-9]{1,5})|(dead)))?")


@dataclass(slots=True)
class Entry:
    """A change in the inbox.

    Args:
        sequence: its name.
        tries: the highest number of an attempt at it.
        dead: it was set aside.
        at: documents that its last attempts had begun, by position.
    """

    sequence: int
    tries: int = 0
    dead: bool = False
    at: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A change that was set aside.

    Args:
        sequence: its name; it keeps its place in the order.
        reasons: why, by document id; "" stands for the whole change.
    """

    sequence: int
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The submission's id."""
        return f"{self.sequence:016d}"


class Inbox:
    """The inbox of an index. Safe to share by threads.

    Args:
        directory: of the index.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._headers: dict[int, Header] = {}
        self._lock = threading.Lock()

    def place(self, data: bytes, lowest: int) -> int:
        """Put a change under the first free sequence from `lowest` on; durable on return.

        Raises:
            StorageError: the disk refused; nothing was placed, or it was not acknowledged.
        """
        aside = temporary_name()
        with self.directory.create(aside) as file:
            file.write_at(0, data)
        try:
            sequence = take_sequence(lowest, partial(self._publish, aside, data))
        finally:
            discard_file(self.directory, aside)
        self.directory.sync_folder(INBOX)
        return sequence

    def _publish(self, aside: str, data: bytes, name: str) -> None:
        try:
            self.directory.publish(aside, name)
        except FileExistsError:
            # On a network file system the first of two transmissions may have been ours.
            if not self._holds(name, data):
                raise

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.directory.read(name, 0, HEADER_BYTES) == data[:HEADER_BYTES]
        except FileNotFoundError:
            return False

    def entries(self, applied: Applied) -> list[Entry]:
        """Changes that wait, ascending; claims of embedded changes are among them."""
        names = self.directory.list(INBOX)
        # All up to the floor are applied; they may be many before they are collected.
        found = _entries(names[bisect_right(names, f"{applied.floor:016d}~") :])
        return [found[s] for s in sorted(found) if s not in applied]

    def entry(self, sequence: int) -> Entry | None:
        """A change that waits; None if it does not."""
        if not self.directory.exists(submission_name(sequence)):
            return None
        name = f"{sequence:016d}"
        names = self.directory.list(INBOX)
        return _entries(names[bisect_left(names, name) : bisect_right(names, f"{name}~")]).get(
            sequence
        )

    def glance(self, sequence: int) -> Entry | None:
        """As `entry`, but for `at`, by a few names instead of a listing of the whole inbox."""
        if not self.directory.exists(submission_name(sequence)):
            return None
        tries = 0
        while tries < MAX_ATTEMPT and self.directory.exists(_attempt_name(sequence, tries + 1)):
            tries += 1
        return Entry(sequence, tries, self.directory.exists(_dead_name(sequence)))

    def read(self, sequence: int) -> bytes:
        """The content of a change; empty for the claim of an embedded one.

        Raises:
            FileNotFoundError: it was applied meanwhile.
            StorageError: the disk refused.
        """
        return self.directory.read(submission_name(sequence), 0, MAX_SUBMISSION_BYTES + 1)

    def header(self, sequence: int) -> Header | None:
        """The first line of a change; None if it cannot be told, is a claim, or was applied.

        A file that the disk does not give is a matter for the workers: it must keep nobody from
        submitting, or from looking at the rest.
        """
        try:
            return decode_header(self.directory.read(submission_name(sequence), 0, HEADER_BYTES))
        except (FileNotFoundError, StorageError, InvalidSubmissionError):
            return None

    def headers(self, entries: Iterable[Entry]) -> dict[int, Header]:
        """The first lines of changes that wait, each read once however often they are asked for.

        Claims of embedded changes, and what was set aside, are left out.
        """
        with self._lock:
            known = self._headers
        found = {
            entry.sequence: known.get(entry.sequence) or self.header(entry.sequence)
            for entry in entries
            if not entry.dead
        }
        headers = {sequence: header for sequence, header in found.items() if header is not None}
        with self._lock:
            self._headers = headers
        return headers

    def n_operations(self, entries: Iterable[Entry]) -> int:
        """Documents and deletions of changes that wait, but for those that were set aside."""
        return sum(header.n_operations for header in self.headers(entries).values())

    def begin(self, sequence: int, attempt: int, owner: str) -> bool:
        """Note that an attempt begins.

        Returns:
            False if somebody else has begun it.

        Raises:
            StorageError: the disk refused; nothing was noted.
        """
        name = _attempt_name(sequence, attempt)
        try:
            with self.directory.create(name, durable=False) as file:
                file.write_at(0, owner.encode())
        except FileExistsError:
            return False
        except StorageError:
            # An attempt that did not take place would be held against the change.
            discard_file(self.directory, name)
            raise
        return True

    def owner(self, sequence: int, attempt: int) -> str:
        """Who began an attempt; "" if that cannot be told."""
        try:
            data = self.directory.read(_attempt_name(sequence, attempt), 0, HEADER_BYTES)
        except FileNotFoundError:
            return ""
        return data.decode("ascii", "replace")

    def is_beginning(self, sequence: int, attempt: int) -> bool:
        """Whether an attempt that names no owner was made so lately that it may yet name one."""
        try:
            status = self.directory.status(_attempt_name(sequence, attempt))
        except FileNotFoundError:
            return False
        return self.directory.clock_seconds() - status.changed_seconds < BEGINNING_SECONDS

    def begin_document(self, sequence: int, position: int) -> None:
        """Note that the document of a change at a position is about to be encoded by itself.

        Raises:
            StorageError: the disk refused.
        """
        try:
            with self.directory.create(_document_name(sequence, position), durable=False):
                pass
        except FileExistsError:
            return

    def end_document(self, sequence: int, position: int) -> None:
        """Note that the process has lived to see the end of it."""
        discard_file(self.directory, _document_name(sequence, position))

    def take_back(self, sequence: int, attempt: int) -> None:
        """Make an attempt undone, which failed for no fault of the change."""
        discard_file(self.directory, _attempt_name(sequence, attempt))

    def set_aside(self, letter: DeadLetter) -> None:
        """Set a change aside until `revive`, or until it is completed.

        Raises:
            StorageError: the disk refused.
        """
        reasons = {id: reason[:MAX_REASON_CHARACTERS] for id, reason in letter.reasons.items()}
        data = json.dumps({"reasons": reasons}, ensure_ascii=True).encode()
        try:
            with self.directory.create(_dead_name(letter.sequence)) as file:
                file.write_at(0, data)
        except FileExistsError:
            return
        self.directory.sync_folder(INBOX)

    def dead_letter(self, sequence: int) -> DeadLetter:
        """Why a change was set aside; without reasons if that cannot be read."""
        try:
            data = self.directory.read(_dead_name(sequence), 0, MAX_SUBMISSION_BYTES)
            reasons = json.loads(data)["reasons"]
            return DeadLetter(sequence, {str(id): str(why) for id, why in reasons.items()})
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return DeadLetter(sequence)

    def revive(self, sequence: int) -> None:
        """Let a change that was set aside be tried again, from the first attempt on."""
        self._remove_attempts(sequence, MAX_ATTEMPT)
        self._remove_documents(sequence)
        remove_file(self.directory, _dead_name(sequence))

    def forget(self, sequence: int, attempts: int) -> None:
        """Remove the attempts at a change that was applied; collection takes what stays."""
        self._remove_attempts(sequence, attempts)

    def forget_letter(self, sequence: int) -> None:
        """Remove all that goes with a dead letter that was given up."""
        self._remove_attempts(sequence, MAX_ATTEMPT)
        self._remove_documents(sequence)
        discard_file(self.directory, _dead_name(sequence))

    def _remove_documents(self, sequence: int) -> None:
        begun = f"{sequence:016d}.at"
        for name in self.directory.list(INBOX):
            if name.startswith(begun):
                discard_file(self.directory, f"{INBOX}/{name}")

    def _remove_attempts(self, sequence: int, attempts: int) -> None:
        # The first goes last: without it the change would look untried.
        for attempt in range(attempts, 0, -1):
            discard_file(self.directory, _attempt_name(sequence, attempt))

    def dead_letters(self, applied: Applied) -> Iterator[DeadLetter]:
        """Changes that were set aside, ascending."""
        for entry in self.entries(applied):
            if entry.dead:
                yield self.dead_letter(entry.sequence)


def _entries(names: Iterable[str]) -> dict[int, Entry]:
    """Changes by sequence; files that go with one that is not there are passed over."""
    found: dict[int, Entry] = {}
    content: set[int] = set()
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or not 0 < int(match[1]) <= MAX_SEQUENCE:
            continue
        entry = found.setdefault(int(match[1]), Entry(int(match[1])))
        if match[2] is not None:
            entry.tries = max(entry.tries, int(match[2]))
        elif match[3] is not None:
            entry.at.add(int(match[3]))
        elif match[4] is not None:
            entry.dead = True
        else:
            content.add(entry.sequence)
    return {sequence: found[sequence] for sequence in content}


def _attempt_name(sequence: int, attempt: int) -> str:
    return f"{submission_name(sequence)}.try{attempt}"


def _document_name(sequence: int, position: int) -> str:
    return f"{submission_name(sequence)}.at{position}"


def _dead_name(sequence: int) -> str:
    return f"{submission_name(sequence)}.dead"
