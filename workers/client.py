"""The client: submits documents to an index's inbox, and tells what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..engine.closing import Closing
from ..engine.documents import Document
from ..engine.errors import (
    InvalidInputError,
    InvalidParameterError,
    QueueFullError,
    StorageError,
)
from ..engine.index import Index
from ..engine.storage.claims import Waiting
from ..engine.storage.directory import LocalDirectory
from ..engine.storage.files import discard_file
from ..engine.storage.layout import new_identifier, submission_name
from ..engine.storage.sequences import Applied
from ..engine.validation import check_ids
from .bell import Bell, NoBell
from .done import applied_with_content
from .inbox import Inbox
from .leases import is_alive
from .submissions import Submission, check_submission, encode_submission
from .watch import ManifestWatch

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 10_000
"""Documents that may wait by default."""

COUNT_SECONDS: Final = 0.5
"""How long a count of the inbox holds. Counting it for each submission would cost as much as the
submission: a listing, and the first lines of what others have submitted."""

WARN_SECONDS: Final = 10.0
"""How often a blocked `submit` says that it waits."""

POLL_SECONDS: Final = (0.005, 0.1)
"""Shortest and longest pause between two looks."""

QUEUED: Final = "queued"
ENCODING: Final = "encoding"
COMMITTED: Final = "committed"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class SubmissionStatus:
    """What has become of a submission.

    Args:
        id: of the submission.
        state: "queued", "encoding", "committed" (its documents can be found) or "failed".
        generation: the newest one when this was looked up.
        reasons: why documents were set aside, by document id; "" stands for all of them. Those
            of a failed submission that are not named are in the index.
    """

    id: str
    state: str
    generation: int
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in (COMMITTED, FAILED)


class Client(Closing):
    """Submits to an index from any process that sees its folder. Safe to share by threads.

    What was submitted is durable on the shared storage when the call returns; Redis only brings
    the workers word of it, and may fail at any time. Nothing is encoded here, and no model loaded.

    Args:
        index: folder of the index, or an open one.
        broker_url: of the workers' Redis; None leaves it to the workers' next sweep to find what
            was submitted, some seconds later.
        max_waiting: documents and deletions that may wait in the inbox.
        full: what `submit` does when more would wait: "block" or "raise".

    Raises:
        IndexNotFoundError, CorruptIndexError: there is no index, or it cannot be read.
        InvalidInputError: the index has no encoder that the workers could use.
        InvalidParameterError: a parameter out of range.
        MissingDependencyError: Celery is not installed.
    """

    def __init__(
        self,
        index: str | Path | Index,
        broker_url: str | None = None,
        *,
        max_waiting: int = MAX_WAITING,
        full: str = "block",
    ) -> None:
        _check(max_waiting, full)
        path = index.path if isinstance(index, Index) else Path(index)
        self._directory = LocalDirectory(path)
        self._watch = ManifestWatch(self._directory)
        self._inbox = Inbox(self._directory)
        self._max_waiting = max_waiting
        self._full = full
        manifest = self._watch.newest()
        if manifest.encoder is None:
            raise InvalidInputError(
                f"{path} holds ready-made embeddings and has no encoder, so that workers could "
                "not encode what is submitted: add to it with Index.add."
            )
        self._bell = NoBell() if broker_url is None else Bell(broker_url, manifest.index_uuid)
        # What may still be submitted before the inbox is counted again, and until when.
        self._allowance = 0
        self._allowed_until = 0.0
        self._lock = threading.Lock()
        self._ahead_seconds: float | None = None

    def submit(
        self,
        documents: Iterable[Document] = (),
        *,
        delete: Iterable[str] = (),
        timeout: float | None = None,
    ) -> str:
        """Hand in documents to be added or replaced, and ids to be deleted, as one change.

        Of all changes to an id the one that was submitted last wins, in whatever order workers
        get to them.

        Args:
            documents: with text; each id once.
            delete: document ids, none of them also a document's.
            timeout: seconds to wait while the inbox is full; None waits as long as it takes.

        Returns:
            The submission's id, once it is durable.

        Raises:
            InvalidDocumentError, DuplicateDocumentError: bad input; nothing was submitted.
            InvalidInputError: more than one submission holds.
            QueueFullError: the inbox is full; nothing was submitted.
            StorageError: the disk refused; it was not acknowledged.
        """
        deletions = check_ids(delete)
        checked = check_submission(documents, deletions)
        submission = Submission(tuple(checked), tuple(deletions), time.time(), new_identifier())
        data = encode_submission(submission)
        self._wait_for_room(submission.n_operations, timeout)
        sequence = self._place(data)
        self._bell.ring(sequence)
        return f"{sequence:016d}"

    async def asubmit(
        self,
        documents: Iterable[Document] = (),
        *,
        delete: Iterable[str] = (),
        timeout: float | None = None,
    ) -> str:
        """`submit` without blocking the event loop."""
        return await asyncio.to_thread(self.submit, documents, delete=delete, timeout=timeout)

    def _place(self, data: bytes) -> int:
        """Put a submission into the inbox, under a sequence that nobody has applied without it."""
        while True:
            # Above all that is there, not merely free: what was submitted before comes before.
            waiting, before = Waiting(self._directory).next_sequence, self._watch.newest()
            sequence = self._inbox.place(data, max(waiting, before.next_sequence))
            if sequence not in self._applied():
                return sequence
            # A worker was quicker than this look, or else a sweep had given the number up.
            if applied_with_content(self._directory, before, sequence):
                return sequence
            discard_file(self._directory, submission_name(sequence))

    def _wait_for_room(self, n_operations: int, timeout: float | None) -> None:
        if n_operations > self._max_waiting:
            raise QueueFullError(
                f"A submission of {n_operations:,} does not fit into an inbox of "
                f"{self._max_waiting:,}: submit fewer at a time, or raise max_waiting."
            )
        started = time.monotonic()
        deadline = None if timeout is None else started + timeout
        while not self._takes_room(n_operations):
            expired = deadline is not None and time.monotonic() >= deadline
            if self._full == "raise" or expired:
                raise QueueFullError(
                    f"{self.waiting():,} documents wait in the inbox and {self._max_waiting:,} are "
                    "allowed; nothing was submitted. See `weft status`: wait, start workers, look "
                    "after dead letters, or raise max_waiting."
                )
            if time.monotonic() - started >= WARN_SECONDS:
                logger.warning("The inbox is full; waiting for the workers (see `weft status`).")
                started = time.monotonic()
            time.sleep(POLL_SECONDS[1])

    def _takes_room(self, n_operations: int) -> bool:
        with self._lock:
            if self._allowance < n_operations or time.monotonic() >= self._allowed_until:
                room = self._max_waiting - self.waiting()
                if room < n_operations:
                    self._allowance = 0
                    return False
                # Others submit meanwhile: count again before all the room is used up, and soon.
                self._allowance = max(n_operations, room // 8)
                self._allowed_until = time.monotonic() + COUNT_SECONDS
            self._allowance -= n_operations
            return True

    def _applied(self) -> Applied:
        return Applied.of(self._watch.newest())

    def status(self, id: str) -> SubmissionStatus:
        """What has become of a submission; one that was set aside and dropped is "committed".

        Raises:
            InvalidParameterError: not an id that `submit` gave.
            StorageError: the disk refused.
        """
        sequence = _sequence(id)
        entry = self._inbox.glance(sequence)
        # Looked up afterwards: what has left the inbox was applied before.
        manifest = self._watch.newest()
        if entry is None and sequence not in Applied.of(manifest):
            manifest = self._watch.newest_by_listing()
        if sequence in Applied.of(manifest):
            return SubmissionStatus(id, COMMITTED, manifest.generation)
        if entry is None:
            raise InvalidParameterError(f"Nothing was submitted as {id}: check id and index.")
        if entry.dead:
            reasons = self._inbox.dead_letter(sequence).reasons
            return SubmissionStatus(id, FAILED, manifest.generation, reasons)
        busy = entry.tries and is_alive(
            self._directory, self._inbox.owner(sequence, entry.tries), self._now_seconds()
        )
        return SubmissionStatus(id, ENCODING if busy else QUEUED, manifest.generation)

    def _now_seconds(self) -> float:
        """The file server's clock, by its distance from ours at the first look."""
        if self._ahead_seconds is None:
            try:
                self._ahead_seconds = self._directory.clock_seconds() - time.time()
            except StorageError:
                # A full disk, or one that may only be read.
                self._ahead_seconds = 0.0
        return time.time() + self._ahead_seconds

    async def astatus(self, id: str) -> SubmissionStatus:
        """`status` without blocking the event loop."""
        return await asyncio.to_thread(self.status, id)

    def wait(self, id: str, timeout: float | None = None) -> SubmissionStatus:
        """Wait until a submission is committed or has failed.

        Args:
            id: of the submission.
            timeout: seconds; None waits as long as it takes.

        Returns:
            Its status; not a settled one if the time is over.

        Raises:
            InvalidParameterError, StorageError: as `status`.
        """
        pauses = _pauses(timeout)
        while not (status := self.status(id)).is_settled:
            pause = next(pauses, None)
            if pause is None:
                break
            time.sleep(pause)
        return status

    async def await_(self, id: str, timeout: float | None = None) -> SubmissionStatus:
        """`wait` without blocking the event loop."""
        pauses = _pauses(timeout)
        while not (status := await self.astatus(id)).is_settled:
            pause = next(pauses, None)
            if pause is None:
                break
            await asyncio.sleep(pause)
        return status

    def waiting(self) -> int:
        """Documents and deletions in the inbox, but for those that were set aside."""
        return self._inbox.n_operations(self._inbox.entries(self._applied()))

    def close(self) -> None:
        """Let go of the broker; what was submitted stays."""
        self._bell.close()


def _pauses(timeout: float | None) -> Iterator[float]:
    """Growing pauses until the time is over."""
    shortest, longest = POLL_SECONDS
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = shortest
    while deadline is None or time.monotonic() < deadline:
        yield pause
        pause = min(1.5 * pause, longest)


def _sequence(id: str) -> int:
    if not isinstance(id, str) or len(id) != 16 or not id.isascii() or not id.isdigit():
        raise InvalidParameterError(f"{id!r} is no submission: pass what `submit` returned.")
    return int(id)


def _check(max_waiting: int, full: str) -> None:
    if type(max_waiting) is not int or max_waiting < 1:
        raise InvalidParameterError(f"max_waiting is {max_waiting!r}: use a number from 1 on.")
    if full not in ("block", "raise"):
        raise InvalidParameterError(f'full is {full!r}: use "block" or "raise".')
