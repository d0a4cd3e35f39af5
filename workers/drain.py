"""The drain: takes waiting changes, encodes them and commits them, as many at once as is good.

Every step may be repeated by anybody at any time: what is applied is told by the manifest, and
rows and deletions carry the sequences of their changes. Attempts are noted before they begin, so
that a change that kills the process is alone when it does so again, and is set aside the third
time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..engine.documents import Document
from ..engine.errors import InvalidInputError, StorageError, WeftError
from ..engine.storage.writer import StagedSegment
from .context import IngestContext
from .inbox import DeadLetter
from .metrics import Observer
from .selection import MAX_TRIES, BatchLimits, Selection, Taken

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class DrainReport:
    """What a drain did.

    Args:
        n_changes: applied.
        n_documents: among them, those that were encoded.
        n_dead: changes that were set aside.
        left: a change that nobody has got to; 0 if there is none.
    """

    n_changes: int = 0
    n_documents: int = 0
    n_dead: int = 0
    left: int = 0


@dataclass(slots=True)
class _Content:
    """What is committed together."""

    rows: dict[str, tuple[int, Document]] = field(default_factory=dict)
    deletions: dict[str, int] = field(default_factory=dict)

    def put(self, taken: Taken) -> None:
        """Add a change; of two operations on an id the one with the higher sequence stays."""
        for document in taken.submission.documents:
            if self._latest(document.id) < taken.sequence:
                self.rows[document.id] = (taken.sequence, document)
                self.deletions.pop(document.id, None)
        for id in taken.submission.deletions:
            if self._latest(id) < taken.sequence:
                self.deletions[id] = taken.sequence
                self.rows.pop(id, None)

    def _latest(self, id: str) -> int:
        row = self.rows.get(id)
        return max(row[0] if row else 0, self.deletions.get(id, 0))


class Drain:
    """One run over what waits for an index.

    Args:
        context: of the index.
        limits: of what is encoded and committed together.
        observer: told what happens.
        interrupts: errors that end the run and say nothing about the documents, such as that of
            a time limit.
    """

    def __init__(
        self,
        context: IngestContext,
        limits: BatchLimits,
        observer: Observer,
        interrupts: tuple[type[Exception], ...] = (),
    ) -> None:
        self._context = context
        self._inbox = context.inbox
        self._observer = observer
        self._interrupts = interrupts
        self._not_to_blame: tuple[type[Exception], ...] = (StorageError, *interrupts)
        self._selection = Selection(context, limits)
        self.report = DrainReport()

    def run(self, seconds: float) -> DrainReport:
        """Take and apply until nothing waits that is not in other hands, or time is up.

        Args:
            seconds: no further batch is begun after so long.

        Raises:
            StorageError, EncoderError, MissingDependencyError: the disk or the encoder failed;
                no document is blamed for it.
        """
        deadline = time.monotonic() + seconds
        while True:
            if time.monotonic() >= deadline:
                self.report.left = self._selection.next_free()
                return self.report
            with self._selection.take(self._interrupts) as taken:
                if not taken:
                    return self.report
                self._process(taken)

    def _process(self, taken: Sequence[Taken]) -> None:
        for change in taken:
            if change.problem:
                self._bury(change, {"": change.problem})
        sound = [change for change in taken if not change.problem]
        if not sound:
            return
        together = [change for change in sound if change.attempt == 1]
        alone = [change for change in sound if change.attempt > 1]
        if together and not self._try(together):
            # Nobody knows which one it was. Each attempt is noted right before it, so that one
            # that kills the process is not held against those that come after.
            for change in together:
                if change.again(self._context):
                    self._try_alone(change)
        for change in alone:
            self._try_alone(change)

    def _try_alone(self, change: Taken) -> None:
        if change.attempt < MAX_TRIES and (self._try([change]) or not change.again(self._context)):
            return
        self._try_apart(change)

    def _try(self, changes: Sequence[Taken]) -> bool:
        """Apply changes together; False if a document among them cannot be encoded or stored."""
        content = _Content()
        for change in changes:
            content.put(change)
        staged = self._stage([*content.rows.values()], changes)
        if staged is None:
            return False
        self._commit(staged, content.deletions, changes)
        return True

    def _try_apart(self, change: Taken) -> None:
        """Apply what can be of a change, and set aside the rest with its reasons."""
        reasons: dict[str, str] = {}
        sound: list[tuple[int, Document]] = []
        for document in change.submission.documents:
            error = self._error_of(document, change)
            if error is None:
                sound.append((change.sequence, document))
            else:
                reasons[document.id] = _reason(error)
        staged = self._stage(sound, [change])
        if staged is None:
            self._bury(change, {"": "its documents can be encoded one by one, but not stored"})
            return
        deletions = dict.fromkeys(change.submission.deletions, change.sequence)
        self._commit(staged, deletions, [] if reasons else [change])
        if reasons:
            self._bury(change, reasons)

    def _error_of(self, document: Document, change: Taken) -> Exception | None:
        """What is wrong with a document, if anything."""
        try:
            for _ in self._context.encode([document]):
                pass
        except self._not_to_blame:
            raise
        except Exception as error:
            logger.exception("Document %r cannot be encoded", document.id, extra=_named([change]))
            return error
        return None

    def _stage(
        self, rows: Sequence[tuple[int, Document]], changes: Sequence[Taken]
    ) -> list[StagedSegment] | None:
        """Encode documents into segments; None if one of them, or the encoder, is to blame."""
        staged: list[StagedSegment] = []
        try:
            self._stage_into(staged, rows)
        except self._not_to_blame:
            self._context.writer.discard(staged)
            raise
        except Exception as error:
            logger.warning(
                "%d documents could not be made ready: %s",
                len(rows),
                _reason(error),
                extra=_named(changes),
                exc_info=not isinstance(error, WeftError),
            )
            self._context.writer.discard(staged)
            return None
        return staged

    def _stage_into(
        self, staged: list[StagedSegment], rows: Sequence[tuple[int, Document]]
    ) -> None:
        writer = self._context.writer
        sequences = np.array([sequence for sequence, _ in rows], dtype=np.uint64)
        started = time.monotonic()
        done = 0
        for batch in self._context.encode([document for _, document in rows]) if rows else ():
            self._observer.encoded(batch, time.monotonic() - started)
            end = done + len(batch.documents)
            staged.append(writer.stage(batch, sequences=sequences[done:end]))
            done, started = end, time.monotonic()

    def _commit(
        self,
        staged: Sequence[StagedSegment],
        deletions: dict[str, int],
        completed: Sequence[Taken],
    ) -> None:
        """One generation, with all of it or, after an error, nothing."""
        if not staged and not deletions and not completed:
            return
        started = time.monotonic()
        sequences = [change.sequence for change in completed]
        commit = self._context.writer.commit_queued(staged, delete=deletions, completed=sequences)
        for change in completed:
            change.done(self._context)
        n_documents = sum(segment.n_documents for segment in staged)
        self.report.n_changes += len(completed)
        self.report.n_documents += n_documents
        self._observer.committed(commit, completed, n_documents, time.monotonic() - started)

    def _bury(self, change: Taken, reasons: dict[str, str]) -> None:
        self._inbox.set_aside(DeadLetter(change.sequence, reasons))
        self.report.n_dead += 1
        self._observer.buried(change.sequence, reasons)


def _reason(error: Exception) -> str:
    """Why, in words for whoever looks after dead letters."""
    if isinstance(error, InvalidInputError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _named(changes: Sequence[Taken]) -> dict[str, list[int]]:
    """For a log record: the submissions that it is about."""
    return {"submissions": [change.sequence for change in changes]}
