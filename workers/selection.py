"""Which of the waiting changes a drain takes, and how it keeps others from taking the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ..engine.errors import InvalidInputError, InvalidParameterError, StorageError
from .context import IngestContext
from .inbox import Entry
from .leases import is_alive, lease_name
from .submissions import Submission, decode_submission

logger = logging.getLogger(__name__)

MAX_TRIES: Final = 3
"""Attempts at a change, after which it is set aside."""

MAX_KILLERS: Final = 16
"""Documents of one change that may each cost a worker its life before all of it is set aside."""

UNREADABLE_SECONDS: Final = 60.0
"""How long a change is tried whose file the disk does not give while it gives others."""

MAX_DEAD: Final = 2000
"""Changes set aside, from which on nothing is taken: so many are no accident, and what waits
below others costs room in every manifest."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much is encoded and committed together.

    Args:
        operations: documents and deletions; a larger submission comes alone.
        characters: of text, likewise.
        linger_seconds: how old the oldest change may grow while a batch is not full.

    Raises:
        InvalidParameterError: a limit out of range.
    """

    operations: int = 256
    characters: int = 2**19
    linger_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.operations < 1 or self.characters < 1 or not 0 <= self.linger_seconds <= 60:
            raise InvalidParameterError(
                f"{self} is out of range: operations and characters are at least 1, "
                "linger_seconds is 0 to 60."
            )


@dataclass(slots=True)
class Taken:
    """A change in hand.

    Args:
        sequence: its name.
        attempt: which one this is, from 1.
        submission: its content; empty where there is a problem.
        problem: why nothing can be done with it.
        killers: positions of documents at which earlier attempts ended without a word.
    """

    sequence: int
    attempt: int
    submission: Submission
    problem: str = ""
    killers: frozenset[int] = frozenset()

    def again(self, context: IngestContext) -> bool:
        """Note that the next attempt begins; False if somebody else has begun it."""
        if not context.inbox.begin(self.sequence, self.attempt + 1, context.lease.owner):
            return False
        self.attempt += 1
        return True

    def done(self, context: IngestContext) -> None:
        """Remove what goes with a change that was applied."""
        context.inbox.forget(self.sequence, self.attempt)


NOTHING: Final = Submission((), (), 0.0, "")


class Selection:
    """Takes changes for one run.

    Args:
        context: of the index.
        limits: of what is taken at once.
    """

    def __init__(self, context: IngestContext, limits: BatchLimits) -> None:
        self._context = context
        self._inbox = context.inbox
        self._limits = limits
        self._owners: dict[tuple[int, int], str] = {}
        self._alive: dict[str, bool] = {}

    @contextmanager
    def take(self, blamed: tuple[type[BaseException], ...] = ()) -> Iterator[list[Taken]]:
        """Changes in hand until the end of the context, in their order.

        Args:
            blamed: errors after which the attempts count; after others they are undone, since
                they say nothing about the changes.

        Raises:
            StorageError: the disk refused.
        """
        if not self._context.lease.take():
            raise InvalidParameterError("Another process has this worker's name: choose another.")
        taken: list[Taken] = []
        try:
            self._take_into(taken)
            yield taken
        except BaseException as error:
            if not isinstance(error, blamed):
                for change in taken:
                    self._inbox.take_back(change.sequence, change.attempt)
            raise
        finally:
            with self._context.lock:
                self._context.in_hand.difference_update(change.sequence for change in taken)

    def next_free(self) -> int:
        """Something that waits and is in nobody's hands; 0 if nothing is."""
        self._alive.clear()
        free = (entry.sequence for entry in self._waiting() if self._is_free(entry))
        return next(free, 0)

    def _waiting(self) -> list[Entry]:
        entries = self._inbox.entries(self._context.applied())
        n_dead = sum(entry.dead for entry in entries)
        if n_dead >= MAX_DEAD:
            logger.error(
                "%d changes are set aside: nothing more is taken until they are retried or "
                "dropped (weft dead-letters).",
                n_dead,
            )
            return []
        return [entry for entry in entries if not entry.dead]

    def _take_into(self, taken: list[Taken]) -> None:
        self._alive.clear()
        entries = self._gathered()
        # What was tried before may have killed its process: were others beside it in hand the
        # next time, they would be taken for the culprit just as well.
        for entry in entries:
            if entry.tries and self._add(entry, taken):
                return
        n_operations = n_characters = 0
        for entry in entries:
            if entry.tries or not self._add(entry, taken):
                continue
            n_operations += taken[-1].submission.n_operations
            n_characters += taken[-1].submission.n_characters
            if n_operations >= self._limits.operations or n_characters >= self._limits.characters:
                return

    def _add(self, entry: Entry, taken: list[Taken]) -> bool:
        if not self._is_free(entry) or not self._reserve(entry.sequence):
            return False
        change = None
        try:
            change = self._read(entry)
            if change is not None:
                taken.append(change)
        finally:
            if change is None:
                self._release(entry.sequence)
        return change is not None

    def _gathered(self) -> list[Entry]:
        """What waits; while it is little and young, more may come."""
        entries = self._waiting()
        if not self._limits.linger_seconds:
            return entries
        header = self._inbox.header(entries[0].sequence) if entries else None
        if header is None or len(entries) >= self._limits.operations:
            return entries
        left_seconds = self._limits.linger_seconds - (time.time() - header.submitted_seconds)
        # The submitter's clock may be another one.
        left_seconds = min(left_seconds, self._limits.linger_seconds)
        if left_seconds <= 0:
            return entries
        time.sleep(left_seconds)
        return self._waiting()

    def _read(self, entry: Entry) -> Taken | None:
        attempt = entry.tries + 1
        if entry.tries >= MAX_TRIES and not 0 < len(entry.at) <= MAX_KILLERS:
            # Perhaps somebody has revived it since it was listed.
            if self._inbox.entry(entry.sequence) != entry:
                return None
            problem = f"the worker died, or ran out of time, {entry.tries} times while it was at it"
            return Taken(entry.sequence, attempt, NOTHING, problem)
        if not self._inbox.begin(entry.sequence, attempt, self._context.lease.owner):
            return None
        try:
            data = self._inbox.read(entry.sequence)
        except FileNotFoundError:
            data = b""
        except StorageError as error:
            self._inbox.take_back(entry.sequence, attempt)
            return self._unreadable(entry.sequence, attempt, error)
        self._context.unreadable.pop(entry.sequence, None)
        if not data:
            self._inbox.take_back(entry.sequence, attempt)
            return None
        try:
            submission = decode_submission(data)
            return Taken(entry.sequence, attempt, submission, killers=frozenset(entry.at))
        except InvalidInputError as error:
            return Taken(entry.sequence, attempt, NOTHING, str(error))

    def _unreadable(self, sequence: int, attempt: int, error: StorageError) -> Taken | None:
        """A change whose file the disk does not give: with a problem, once it has been so for long.

        It must not hold up the others, nor be blamed for a disk that reads nothing for a while.
        """
        logger.error("Change %d cannot be read: %s", sequence, error)
        since = self._context.unreadable.setdefault(sequence, time.monotonic())
        if time.monotonic() - since < UNREADABLE_SECONDS or not self._reads_others():
            return None
        del self._context.unreadable[sequence]
        problem = f"its file could not be read for {UNREADABLE_SECONDS:.0f} seconds: {error}"
        return Taken(sequence, attempt, NOTHING, problem)

    def _reads_others(self) -> bool:
        """Whether the disk gives at least this process's own lease."""
        try:
            self._context.directory.read(lease_name(self._context.lease.owner), 0, 1)
        except (StorageError, FileNotFoundError):
            return False
        return True

    def _is_free(self, entry: Entry) -> bool:
        if entry.sequence in self._context.in_hand:
            return False
        if not entry.tries:
            return True
        owner = self._owner(entry)
        if not owner:
            return not self._inbox.is_beginning(entry.sequence, entry.tries)
        # What carries this process's name and is not in its hands was left by a failure.
        return owner == self._context.lease.owner or not self._lives(owner)

    def _owner(self, entry: Entry) -> str:
        key = (entry.sequence, entry.tries)
        if not self._owners.get(key):
            self._owners[key] = self._inbox.owner(*key)
        return self._owners[key]

    def _lives(self, owner: str) -> bool:
        if owner not in self._alive:
            self._alive[owner] = is_alive(self._context.directory, owner)
        return self._alive[owner]

    def _reserve(self, sequence: int) -> bool:
        with self._context.lock:
            if sequence in self._context.in_hand:
                return False
            self._context.in_hand.add(sequence)
            return True

    def _release(self, sequence: int) -> None:
        with self._context.lock:
            self._context.in_hand.discard(sequence)
