"""The writer: stages segments, then commits any number of them and deletions as one change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..closing import Closing
from ..codec import BuildDevice
from ..errors import (
    CommitUncertainError,
    CorruptIndexError,
    DimensionMismatchError,
    InvalidParameterError,
    WeftError,
    WriterClosedError,
)
from .batch import EncodedBatch
from .change import Change, Commit
from .claims import Claims
from .collection import CollectionReport, collect
from .commit import Outcome, Prepare, Prepared, commit
from .directory import Directory, SyncFailedError
from .embedded_change import EmbeddedChange
from .files import collected
from .forks import tell_after_fork
from .holding import unserved_by
from .manifest import Manifest
from .pins import keep
from .queued_change import QueuedChange, require_sequence
from .reader import Reader, Snapshot
from .segment_writer import LiveCodec
from .staging import Recall, StagedSegment, Staging, is_readable
from .sweep import sweep

__all__ = ["Commit", "StagedSegment", "Writer"]

logger = logging.getLogger(__name__)

COLLECT_EVERY: Final = 64
"""Commits after which the writer collects what no generation names any more."""

T = TypeVar("T")


class Writer(Closing):
    """Changes an index. Any number of writers, in any process, may work on one index.

    Safe to share by threads. Usable as a context manager. After a failed fsync every method
    raises `WriterClosedError`, since nobody can tell what reached the disk.

    Args:
        directory: of the index, or its path.
        threads: for compression; 0 is all cores.
        reader: shared with the caller, who closes it; the writer opens its own without one.
        device: a GPU that trains codecs and compresses; None for the processor.
    """

    def __init__(
        self,
        directory: Directory | str | Path,
        *,
        threads: int = 0,
        reader: Reader | None = None,
        device: BuildDevice | None = None,
    ) -> None:
        self._owns_reader = reader is None
        self._reader = Reader(directory) if reader is None else reader
        self.directory = self._reader.directory
        self.threads = threads
        self.device = device
        self._closed: str | None = None
        self._staging = Staging(self._reader, threads, device)
        self._held: set[str] = set()
        self.claims = Claims(self._reader)
        self.lock = threading.RLock()
        tell_after_fork(self)

    def snapshot(self) -> Snapshot:
        """The newest generation; close it after use."""
        self._require_open()
        return self._reader.snapshot()

    def stage(
        self,
        batch: EncodedBatch,
        *,
        sequences: NDArray[np.uint64] | None = None,
        recall: Recall | None = None,
    ) -> StagedSegment:
        """Write a batch as a segment that can be committed; coded if a codec serves it.

        Args:
            batch: documents and their embeddings.
            sequences: uint64 [D], of the queued change that each document belongs to, for
                `commit_queued`; None for `commit`.
            recall: makes the same batch again, should the codec be given up before the commit.
                Without it a coded segment's batch is kept in memory until then.

        Raises:
            DimensionMismatchError: the batch has another dim than the index.
            InvalidDocumentError: text or metadata that cannot be stored.
            InvalidParameterError: sequences that are not one per document, or out of range.
            StorageError: the disk refused, or the files were collected since this process had
                stopped for too long; nothing is left behind.
            DeviceMemoryError, DeviceFailedError: a GPU that is required did; likewise.
            WriterClosedError: the writer was closed.
        """
        self._require_open()
        _require_sequences(sequences, len(batch.documents))
        with self._reader.snapshot() as base:
            manifest, live = base.manifest, live_codec(base)
        dim = manifest.dim
        if batch.dim != dim:
            raise DimensionMismatchError(
                f"The embeddings have dim {batch.dim}, the index has dim {dim}: use the encoder "
                "that the index was made with."
            )
        held = unserved_by(manifest, live, batch, threads=self.threads)
        staged = self.guard(lambda: self._staging.write(batch, live, sequences, recall, held))
        with self.lock:
            self._staging.register(staged)
        return staged

    def take_over(self, staged: StagedSegment) -> StagedSegment:
        """Have a segment that was written without `stage` wait for `commit`."""
        with self.lock:
            self._require_open()
            self._reader.hold(staged.held_file)
            self._staging.register(staged)
        return staged

    def commit(
        self,
        staged: StagedSegment | Sequence[StagedSegment],
        *,
        delete: Sequence[str] = (),
        replace: bool = False,
    ) -> Commit:
        """Make staged segments visible and delete documents, all in one generation.

        Args:
            staged: by `stage` of this writer, not committed yet; may be empty.
            delete: document ids.
            replace: staged ids may be in the index, and replace what is there.

        Returns:
            What happened; without any change there is no new generation.

        Raises:
            DuplicateDocumentError: an id is staged twice, or is in the index and `replace` is
                False. As after every error but the last two, the staged files are removed.
            InvalidParameterError: a segment was staged with sequences, or not by this writer.
            CommitConflictError: other writers kept winning.
            StorageError: the disk refused; nothing was applied.
            CommitUncertainError: it is not known whether the commit took place.
            WriterClosedError: the writer was closed.
        """
        segments = _listed(staged)
        return self._commit(
            segments,
            lambda: EmbeddedChange(
                self.directory, segments, delete, replace_present=replace, claims=self.claims
            ),
        )

    def commit_queued(
        self,
        staged: StagedSegment | Sequence[StagedSegment],
        *,
        delete: Mapping[str, int] | None = None,
        completed: Collection[int] = (),
        waiting: Collection[int] = (),
    ) -> Commit:
        """Apply changes that have their sequences already, in whatever order they arrive.

        For each document id the highest sequence counts, whether it is in the index, deleted from
        it or in this call; rows and deletions of sequences that were completed before are left
        out, so that a second delivery is harmless. A change may come in several commits as long
        as only the last one completes it; until then it must lie in the inbox.

        Args:
            staged: by `stage` with sequences; may be empty.
            delete: document id -> sequence of the deletion; the highest that was not completed
                before, where several changes delete an id.
            completed: sequences of which nothing is left to be done. Their files in the inbox are
                removed once the commit is durable.
            waiting: sequences that must not have been applied before: those of a batch from which
                older operations on the same ids were left out.

        Returns:
            What happened; `superseded` names the ids for which something younger was there.

        Raises:
            DuplicateDocumentError: two staged rows of an id have the same sequence. As after
                every error but the last two, the staged files are removed.
            InvalidParameterError: a segment without sequences, or a sequence out of range.
            CommitConflictError: other writers kept winning, or too many sequences above the floor
                were completed while others below them wait, or one of `waiting` was applied.
            StorageError: the disk refused; nothing was applied.
            CommitUncertainError: it is not known whether the commit took place.
            WriterClosedError: the writer was closed.
        """
        segments = _listed(staged)
        return self._commit(
            segments,
            lambda: QueuedChange(self.directory, segments, delete or {}, completed, waiting),
        )

    def _commit(self, segments: list[StagedSegment], make: Callable[[], Change]) -> Commit:
        with self.lock:
            self._require_open()
            self._staging.take(segments)
        change = self._apply(segments, make)
        if change.result.generation % COLLECT_EVERY == 0:
            self.tidy()
        return change.result

    def _apply(self, segments: list[StagedSegment], make: Callable[[], Change]) -> Change:
        """Commit segments that were taken; their files go unless a manifest may name them."""
        outcome = Outcome()
        staged = segments
        try:
            # Looking through the inbox for it is not worth the lock.
            change = make()
            staged = change.staged
            with self.lock:
                self._publish_change(change, outcome)
        except BaseException:
            if not outcome.may_be_published:
                self._staging.remove(staged)
            raise
        finally:
            self._staging.let_go(staged)
        return change

    def _publish_change(self, change: Change, outcome: Outcome) -> None:
        self._require_open()
        try:
            manifest = self._publish(lambda base: self._prepare(change, base), outcome)
        except BaseException:
            self.claims.abandon_all()
            raise
        self._finish(change, manifest)

    def _prepare(self, change: Change, base: Snapshot) -> Prepared | None:
        """Make sure that the segments can be named, and compressed so that they can be read."""
        for position, segment in enumerate(change.staged):
            self._staging.keep(segment)
            if not is_readable(segment, base.manifest):
                again = self._staging.compressed_again(segment, live_codec(base))
                change.staged[position] = again
        return change.prepare(base)

    def _finish(self, change: Change, manifest: Manifest | None) -> None:
        """Remove what the commit has made superfluous: segments without a living row, claims."""
        named = set() if manifest is None else {segment.id for segment in manifest.segments}
        self._staging.remove(segment for segment in change.staged if segment.id not in named)
        if manifest is not None:
            self.claims.settle(change.completed)

    def apply(self, prepare: Prepare, outcome: Outcome) -> Manifest | None:
        """Commit what `prepare` makes of the newest generation; see `commit.commit`.

        Raises:
            StorageError: a file handed to `hold` was collected.
        """
        self._require_open()

        def prepare_held(base: Snapshot) -> Prepared | None:
            for name in list(self._held):
                # What another thread has let go of meanwhile, it may have removed.
                if not keep(self.directory, name) and name in self._held:
                    raise collected(name)
            return prepare(base)

        return self._publish(prepare_held, outcome)

    def _publish(self, prepare: Prepare, outcome: Outcome) -> Manifest | None:
        return self.guard(lambda: commit(self._reader, prepare, outcome))

    def guard(self, action: Callable[[], T]) -> T:
        """Run what writes; a failed fsync in it ends the writer for good."""
        try:
            return action()
        except SyncFailedError as error:
            self._closed = f"an fsync failed: {error}"
            raise
        except CommitUncertainError as error:
            if isinstance(error.__cause__, SyncFailedError):
                self._closed = f"an fsync failed: {error}"
            raise

    def hold(self, name: str) -> None:
        """Keep a file that no manifest names yet from being collected, until `let_go`.

        The file stands for its folder, so that one file of each is enough.
        """
        self._held.add(name)
        self._reader.hold(name)

    def let_go(self, name: str) -> None:
        """Stop keeping a file."""
        self._held.discard(name)
        self._reader.let_go(name)

    def discard(self, staged: StagedSegment | Sequence[StagedSegment]) -> None:
        """Remove staged segments; those that were committed, or may have been, stay."""
        with self.lock:
            waiting = {segment.id for segment in self._staging.waiting()}
            present = [segment for segment in _listed(staged) if segment.id in waiting]
            self._staging.take(present)
            self._staging.remove(present)

    def collect(self, **grace: float) -> CollectionReport:
        """Remove what no generation needs any more; see `collection.collect`."""
        self._require_open()
        try:
            self._reader.refresh()
        except CorruptIndexError as error:
            # A damaged segment keeps this reader on an older generation, and its pin with it.
            logger.warning("The newest generation could not be opened: %s", error)
        return self.guard(lambda: collect(self.directory, **grace))

    def tidy(self) -> None:
        """`sweep` and `collect` after a commit: a failure of theirs is only logged."""
        try:
            sweep(self)
        except (WeftError, FileNotFoundError) as error:
            logger.warning("Changes that were given up could not be settled: %s", error)
        self.try_to_collect()

    def try_to_collect(self) -> CollectionReport | None:
        """`collect`, whose failure is only logged; None then."""
        try:
            return self.collect()
        except (WeftError, FileNotFoundError) as error:
            logger.warning("Old generations could not be collected: %s", error)
            return None

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more: it was closed, or an fsync failed."""
        return self._closed is not None

    def _require_open(self) -> None:
        if self._closed is not None:
            raise WriterClosedError(
                f"The writer cannot be used any more ({self._closed}): open the index again."
            )

    def close(self) -> None:
        """Remove what was staged and not committed, and let go of the index."""
        with self.lock:
            self.discard(self._staging.waiting())
            if self._closed is None:
                self._closed = "it was closed"
        if self._owns_reader:
            self._reader.close()

    def after_fork(self) -> None:
        """Leave the parent what it has staged."""
        self.lock = threading.RLock()
        self._staging.forget()
        self._held = set()
        self.claims.forget()


def live_codec(base: Snapshot) -> LiveCodec | None:
    """The codec that new segments of a generation are compressed with."""
    ref, codec = base.manifest.codec, base.codec
    if ref is None or codec is None:
        return None
    return LiveCodec(ref.id, codec, far_cosine=ref.far_cosine)


def _listed(staged: StagedSegment | Sequence[StagedSegment]) -> list[StagedSegment]:
    return [staged] if isinstance(staged, StagedSegment) else list(staged)


def _require_sequences(sequences: NDArray[np.uint64] | None, n_documents: int) -> None:
    if sequences is None:
        return
    if sequences.dtype != np.uint64 or sequences.shape != (n_documents,):
        raise InvalidParameterError(
            f"sequences are {sequences.dtype} {list(sequences.shape)}: pass uint64 "
            f"[{n_documents}], one per document."
        )
    for sequence in (sequences.min(), sequences.max()):
        require_sequence(int(sequence))
