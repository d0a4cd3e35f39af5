"""The inbox: changes that wait on the shared storage, and the files that go with them.

    inbox/<sequence>             the change, acknowledged once its name is durable
    inbox/<sequence>.try<n>      somebody is at it, or was, for the n-th time; holds who
    inbox/<sequence>.dead        it is set aside, and why

Redis only carries word of them: whatever it loses, lies here.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping
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

MAX_ATTEMPT: Final = 9
"""The highest number that an attempt can have."""

BEGINNING_SECONDS: Final = 5.0
"""Between the making of an attempt's file and its content, at the longest."""

MAX_REASON_CHARACTERS: Final = 2000
"""Length of a reason for which a document was set aside."""

_NAME: Final = re.compile(r"([0-9]{16})(?:\.(?:try([0-9])|(dead)))?")


@dataclass(slots=True)
class Entry:
    """A change in the inbox.

    Args:
        sequence: its name.
        tries: the highest number of an attempt at it.
        dead: it was set aside.
    """

    sequence: int
    tries: int = 0
    dead: bool = False


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
        found: dict[int, Entry] = {}
        content: set[int] = set()
        names = self.directory.list(INBOX)
        # All up to the floor are applied; they may be many before they are collected.
        for name in names[bisect_right(names, f"{applied.floor:016d}~") :]:
            match = _NAME.fullmatch(name)
            if match is None or not 0 < int(match[1]) <= MAX_SEQUENCE:
                continue
            entry = found.setdefault(int(match[1]), Entry(int(match[1])))
            entry.tries = max(entry.tries, int(match[2] or 0))
            entry.dead |= match[3] is not None
            if match[2] is None and match[3] is None:
                content.add(entry.sequence)
        return [found[s] for s in sorted(content) if s not in applied]

    def entry(self, sequence: int) -> Entry | None:
        """A change that waits; None if it does not."""
        if not self.directory.exists(submission_name(sequence)):
            return None
        attempts = range(MAX_ATTEMPT, 0, -1)
        tries = (n for n in attempts if self.directory.exists(_attempt_name(sequence, n)))
        return Entry(sequence, next(tries, 0), self.directory.exists(_dead_name(sequence)))

    def read(self, sequence: int) -> bytes:
        """The content of a change; empty for the claim of an embedded one.

        Raises:
            FileNotFoundError: it was applied meanwhile.
            StorageError: the disk refused.
        """
        return self.directory.read(submission_name(sequence), 0, MAX_SUBMISSION_BYTES + 1)

    def header(self, sequence: int) -> Header | None:
        """The first line of a change; None if it cannot be told, is a claim, or was applied."""
        with self._lock:
            known = self._headers.get(sequence)
        if known is not None:
            return known
        try:
            found = decode_header(self.directory.read(submission_name(sequence), 0, HEADER_BYTES))
        except (FileNotFoundError, InvalidSubmissionError):
            return None
        with self._lock:
            self._headers[sequence] = found
        return found

    def n_operations(self, entries: list[Entry]) -> int:
        """Documents and deletions of changes that wait, but for those that were set aside."""
        waiting = [entry.sequence for entry in entries if not entry.dead]
        headers = [self.header(sequence) for sequence in waiting]
        with self._lock:
            self._headers = {s: h for s in waiting if (h := self._headers.get(s)) is not None}
        return sum(header.n_operations for header in headers if header is not None)

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
        remove_file(self.directory, _dead_name(sequence))

    def forget(self, sequence: int, attempts: int) -> None:
        """Remove the attempts at a change that was applied; collection takes what stays."""
        self._remove_attempts(sequence, attempts)

    def forget_letter(self, sequence: int) -> None:
        """Remove all that goes with a dead letter that was given up."""
        self._remove_attempts(sequence, MAX_ATTEMPT)
        discard_file(self.directory, _dead_name(sequence))

    def _remove_attempts(self, sequence: int, attempts: int) -> None:
        # The first goes last: without it the change would look untried.
        for attempt in range(attempts, 0, -1):
            discard_file(self.directory, _attempt_name(sequence, attempt))

    def dead_letters(self, applied: Applied) -> Iterator[DeadLetter]:
        """Changes that were set aside, ascending."""
        for entry in self.entries(applied):
            if entry.dead:
                yield self.dead_letter(entry.sequence)


def _attempt_name(sequence: int, attempt: int) -> str:
    return f"{submission_name(sequence)}.try{attempt}"


def _dead_name(sequence: int) -> str:
    return f"{submission_name(sequence)}.dead"
