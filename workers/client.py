"""The client: submits documents to an index's inbox, and tells what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..engine.closing import Closing
from ..engine.documents import Document
from ..engine.errors import (
    InvalidInputError,
    InvalidParameterError,
    QueueFullError,
)
from ..engine.index import Index
from ..engine.storage.claims import Waiting
from ..engine.storage.directory import LocalDirectory
from ..engine.storage.files import discard_file
from ..engine.storage.layout import new_identifier, submission_name
from ..engine.storage.sequences import Applied
from ..engine.validation import check_ids
from .bell import Bell, NoBell
from .inbox import Inbox
from .leases import is_alive
from .submissions import Submission, check_submission, encode_submission
from .watch import ManifestWatch

MAX_WAITING: Final = 10_000
"""Documents that may wait by default."""

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
        # What may still be submitted before the inbox is counted again.
        self._allowance = 0

    def submit(
        self,
        documents: Iterable[Document] = (),
        *,
        delete: Sequence[str] = (),
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
        checked = check_submission(documents, check_ids(delete))
        submission = Submission(tuple(checked), tuple(delete), time.time(), new_identifier())
        data = encode_submission(submission)
        self._wait_for_room(submission.n_operations, timeout)
        sequence = self._place(data)
        self._bell.ring(sequence)
        return f"{sequence:016d}"

    async def asubmit(
        self,
        documents: Iterable[Document] = (),
        *,
        delete: Sequence[str] = (),
        timeout: float | None = None,
    ) -> str:
        """`submit` without blocking the event loop."""
        return await asyncio.to_thread(self.submit, documents, delete=delete, timeout=timeout)

    def _place(self, data: bytes) -> int:
        """Put a submission into the inbox, under a sequence that nobody has applied."""
        while True:
            # Above all that is there, not merely free: what was submitted before comes before.
            waiting = Waiting(self._directory).next_sequence
            sequence = self._inbox.place(data, max(waiting, self._watch.newest().next_sequence))
            if sequence not in Applied.of(self._watch.newest()):
                return sequence
            # A sweep had given it up, or a worker was quicker than this look. It was not
            # acknowledged, so that it may be applied once more.
            discard_file(self._directory, submission_name(sequence))

    def _wait_for_room(self, n_operations: int, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._allowance < n_operations:
            waiting = self._inbox.n_operations(self._inbox.entries(self._applied()))
            # Others submit meanwhile: count again before all the room is used up.
            self._allowance = max(0, (self._max_waiting - waiting + 7) // 8)
            if self._allowance >= n_operations or waiting + n_operations <= self._max_waiting:
                self._allowance = max(self._allowance, n_operations)
                break
            if not waiting:
                raise QueueFullError(
                    f"A submission of {n_operations:,} does not fit into an inbox of "
                    f"{self._max_waiting:,}: submit fewer at a time, or raise max_waiting."
                )
            expired = deadline is not None and time.monotonic() >= deadline
            if self._full == "raise" or expired:
                raise QueueFullError(
                    f"{waiting:,} documents wait in the inbox and {self._max_waiting:,} are "
                    "allowed; nothing was submitted. Wait, start more workers, or raise "
                    "max_waiting."
                )
            time.sleep(POLL_SECONDS[1])
        self._allowance -= n_operations

    def _applied(self) -> Applied:
        return Applied.of(self._watch.newest())

    def status(self, id: str) -> SubmissionStatus:
        """What has become of a submission; one that was set aside and dropped is "committed".

        Raises:
            InvalidParameterError: not an id that `submit` gave.
            StorageError: the disk refused.
        """
        sequence = _sequence(id)
        entry = self._inbox.entry(sequence)
        # Looked up afterwards: what has left the inbox was applied before.
        manifest = self._watch.newest()
        if sequence in Applied.of(manifest):
            return SubmissionStatus(id, COMMITTED, manifest.generation)
        if entry is None:
            raise InvalidParameterError(f"Nothing was submitted as {id}: check id and index.")
        if entry.dead:
            reasons = self._inbox.dead_letter(sequence).reasons
            return SubmissionStatus(id, FAILED, manifest.generation, reasons)
        busy = entry.tries and is_alive(self._directory, self._inbox.owner(sequence, entry.tries))
        return SubmissionStatus(id, ENCODING if busy else QUEUED, manifest.generation)

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
