"""The drain: takes waiting changes, encodes them and commits them, as many at once as is good.

Every step may be repeated by anybody at any time: what is applied is told by the manifest, and
rows and deletions carry the sequences of their changes. Attempts are noted before they begin, so
that a change that kills the process is alone when it does so again, and is set aside the third
time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ..engine.documents import Document
from ..engine.errors import (
    DimensionMismatchError,
    EncoderError,
    InvalidInputError,
    WeftError,
)
from ..engine.storage.batch import EncodedBatch, joined
from ..engine.storage.writer import StagedSegment
from .context import IngestContext
from .inbox import DeadLetter
from .metrics import Observer, named
from .selection import MAX_TRIES, BatchLimits, Selection, Taken

logger = logging.getLogger(__name__)

CANARY: Final = "The weft is drawn through the warp."
"""What every encoder can encode, unless it is broken."""

KILLED: Final = "the worker died, or ran out of time, while it was encoding it"

STAGE_TOKENS: Final = 200_000
"""Embeddings of documents encoded one by one that are kept until they are written."""


class EncoderBrokenError(EncoderError):
    """The encoder of this process fails on everything; no document is to blame for it."""


class _UnfitError(Exception):
    """A document, or the encoder, is the cause of what went wrong: the error it was raised from."""


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
    """What is committed together; `chosen` says whether an older operation was left out."""

    rows: dict[str, tuple[int, Document]] = field(default_factory=dict)
    deletions: dict[str, int] = field(default_factory=dict)
    chosen: bool = False

    def put(self, taken: Taken) -> None:
        """Add a change; of two operations on an id the one with the higher sequence stays."""
        for document in taken.submission.documents:
            if self._make_way(document.id, taken.sequence):
                self.rows[document.id] = (taken.sequence, document)
        for id in taken.submission.deletions:
            if self._make_way(id, taken.sequence):
                self.deletions[id] = taken.sequence

    def _make_way(self, id: str, sequence: int) -> bool:
        row = self.rows.get(id)
        latest = max(row[0] if row else 0, self.deletions.get(id, 0))
        self.chosen |= latest > 0
        if latest >= sequence:
            return False
        self.rows.pop(id, None)
        self.deletions.pop(id, None)
        return True


class Drain:
    """One run over what waits for an index.

    Args:
        context: of the index.
        limits: of what is encoded and committed together.
        observer: told what happens.
        interrupts: errors that end the run and count as an attempt at what is in hand, such as
            that of a time limit.
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
        self._selection = Selection(context, limits)
        self.report = DrainReport()

    def run(self, seconds: float) -> DrainReport:
        """Take and apply until nothing waits that is not in other hands, or time is up.

        Args:
            seconds: no further batch is begun after so long.

        Raises:
            StorageError, CorruptIndexError, UnsupportedFormatError, IndexNotFoundError,
            EncoderError, MissingDependencyError: the disk, the index or the encoder failed; no
                document is blamed for it.
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
        staged: list[StagedSegment] = []
        try:
            self._stage(staged, [*content.rows.values()])
        except _UnfitError as error:
            self._context.writer.discard(staged)
            self._require_encoder(error)
            logger.warning(
                "%d documents could not be made ready: %s",
                len(content.rows),
                _reason(error),
                extra=named(change.sequence for change in changes),
            )
            return False
        except BaseException:
            self._context.writer.discard(staged)
            raise
        waiting = [change.sequence for change in changes] if content.chosen else []
        self._commit(staged, content.deletions, changes, waiting)
        return True

    def _stage(self, staged: list[StagedSegment], rows: Sequence[tuple[int, Document]]) -> None:
        """Encode documents into segments."""
        sequences = np.array([sequence for sequence, _ in rows], dtype=np.uint64)
        done = 0
        for batch in self._encoded([document for _, document in rows]) if rows else ():
            end = done + len(batch.documents)
            self._write(staged, batch, sequences[done:end])
            done = end

    def _write(
        self, staged: list[StagedSegment], batch: EncodedBatch, sequences: np.ndarray[Any, Any]
    ) -> None:
        try:
            staged.append(self._context.writer.stage(batch, sequences=sequences))
        except DimensionMismatchError:
            raise
        except InvalidInputError as error:
            raise _UnfitError from error

    def _encoded(self, documents: Sequence[Document]) -> Iterator[EncodedBatch]:
        """Batches of documents; what goes wrong in here may be the fault of one of them."""
        started = time.monotonic()
        try:
            for batch in self._context.encode(documents):
                self._observer.encoded(batch, time.monotonic() - started)
                yield batch
                started = time.monotonic()
        except self._interrupts:
            raise
        except Exception as error:
            if isinstance(error, WeftError) and not _is_about_documents(error):
                raise
            raise _UnfitError from error

    def _require_encoder(self, unfit: _UnfitError) -> None:
        """Make sure that the encoder is able to encode anything at all."""
        try:
            self._context.encoder.encode_passages([CANARY])
        except self._interrupts:
            raise
        except Exception as error:
            raise EncoderBrokenError(
                f"The encoder fails on every text ({_reason(unfit)}); no document is blamed for "
                "it. Start the worker again."
            ) from error

    def _try_apart(self, change: Taken) -> None:
        """Apply what can be of a change, and set aside the rest with its reasons."""
        reasons: dict[str, str] = {}
        staged: list[StagedSegment] = []
        try:
            self._stage_apart(change, staged, reasons)
        except BaseException:
            self._context.writer.discard(staged)
            raise
        deletions = dict.fromkeys(change.submission.deletions, change.sequence)
        self._commit(staged, deletions, [] if reasons else [change])
        if reasons:
            self._bury(change, reasons)

    def _stage_apart(
        self, change: Taken, staged: list[StagedSegment], reasons: dict[str, str]
    ) -> None:
        batches: list[EncodedBatch] = []
        for position, document in enumerate(change.submission.documents):
            if position in change.killers:
                reasons[document.id] = KILLED
                continue
            try:
                batches += self._encoded_alone(change, position)
            except _UnfitError as error:
                self._require_encoder(error)
                reasons[document.id] = _reason(error)
            if sum(batch.n_tokens for batch in batches) >= STAGE_TOKENS:
                self._write_joined(staged, batches, change)
        self._write_joined(staged, batches, change)

    def _encoded_alone(self, change: Taken, position: int) -> list[EncodedBatch]:
        """A document's batches; if the process does not live to see them, its position stays."""
        self._inbox.begin_document(change.sequence, position)
        try:
            batches = list(self._encoded([change.submission.documents[position]]))
        except self._interrupts:
            raise
        except BaseException:
            self._inbox.end_document(change.sequence, position)
            raise
        self._inbox.end_document(change.sequence, position)
        return batches

    def _write_joined(
        self, staged: list[StagedSegment], batches: list[EncodedBatch], change: Taken
    ) -> None:
        if not batches:
            return
        batch = joined(batches)
        batches.clear()
        sequences = np.full(len(batch.documents), change.sequence, dtype=np.uint64)
        staged.append(self._context.writer.stage(batch, sequences=sequences))

    def _commit(
        self,
        staged: Sequence[StagedSegment],
        deletions: Mapping[str, int],
        completed: Sequence[Taken],
        waiting: Sequence[int] = (),
    ) -> None:
        """One generation, with all of it or, after an error, nothing."""
        if not staged and not deletions and not completed:
            return
        started = time.monotonic()
        commit = self._context.writer.commit_queued(
            staged,
            delete=deletions,
            completed=[change.sequence for change in completed],
            waiting=waiting,
        )
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


def _is_about_documents(error: WeftError) -> bool:
    """Whether an error tells of the text that was to be encoded, and not of encoder or index."""
    if isinstance(error, DimensionMismatchError):
        return False
    return isinstance(error, InvalidInputError) or type(error) is EncoderError


def _reason(unfit: _UnfitError) -> str:
    """Why, in words for whoever looks after dead letters."""
    error = unfit.__cause__
    if isinstance(error, InvalidInputError):
        return str(error)
    return f"{type(error).__name__}: {error}"
