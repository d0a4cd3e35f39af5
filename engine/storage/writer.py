"""The writer: stages segments, then commits any number of them and deletions as one change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ..closing import Closing
from ..errors import (
    CommitUncertainError,
    DimensionMismatchError,
    InvalidParameterError,
    StorageError,
    WeftError,
    WriterClosedError,
)
from .batch import EncodedBatch
from .change import Change, Commit, StagedSegment
from .collection import CollectionReport, collect
from .commit import Outcome, Prepare, Prepared, commit
from .directory import Directory, SyncFailedError
from .files import discard_folder
from .forks import tell_after_fork
from .layout import CHECKSUMS_FILE, SEGMENTS, segment_file
from .manifest import Manifest
from .pins import renew
from .reader import Reader, Snapshot
from .segment_writer import LiveCodec, new_segment

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
    """

    def __init__(
        self, directory: Directory | str | Path, *, threads: int = 0, reader: Reader | None = None
    ) -> None:
        self._owns_reader = reader is None
        self._reader = Reader(directory) if reader is None else reader
        self.directory = self._reader.directory
        self.threads = threads
        self._closed: str | None = None
        self._uncommitted: dict[str, StagedSegment] = {}
        self._lock = threading.RLock()
        tell_after_fork(self)

    def snapshot(self) -> Snapshot:
        """The newest generation; close it after use."""
        self._require_open()
        return self._reader.snapshot()

    def stage(self, batch: EncodedBatch) -> StagedSegment:
        """Write a batch as a segment that can be committed; coded if the index has a codec.

        Raises:
            DimensionMismatchError: the batch has another dim than the index.
            InvalidDocumentError: text or metadata that cannot be stored.
            StorageError: the disk refused; nothing is left behind.
            WriterClosedError: the writer was closed.
        """
        self._require_open()
        with self._reader.snapshot() as base:
            dim, live = base.manifest.dim, live_codec(base)
        if batch.dim != dim:
            raise DimensionMismatchError(
                f"The embeddings have dim {batch.dim}, the index has dim {dim}: use the encoder "
                "that the index was made with."
            )
        staged = self.guard(lambda: self._write(batch, live))
        with self._lock:
            self._uncommitted[staged.id] = staged
            self._reader.hold(_held_file(staged.id))
        return staged

    def _write(self, batch: EncodedBatch, live: LiveCodec | None) -> StagedSegment:
        with new_segment(
            self.directory,
            dim=batch.dim,
            n_tokens=batch.n_tokens,
            live=live,
            threads=self.threads,
        ) as segment:
            segment.append_embeddings(batch.embeddings)
            segment.append_documents(batch.documents)
            segment.append_passages(
                batch.passage_document, batch.ordinals(), batch.spans, batch.doclens
            )
        return StagedSegment(segment.ref, tuple(document.id for document in batch.documents))

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
            CommitConflictError: other writers kept winning.
            StorageError: the disk refused; nothing was applied.
            CommitUncertainError: it is not known whether the commit took place.
            WriterClosedError: the writer was closed.
        """
        segments = [staged] if isinstance(staged, StagedSegment) else list(staged)
        with self._lock:
            self._require_open()
            self._take(segments)
            change = self._commit(segments, delete, replace_present=replace)
        if change.result.generation % COLLECT_EVERY == 0:
            self.tidy()
        return change.result

    def _commit(
        self, segments: list[StagedSegment], delete: Sequence[str], *, replace_present: bool
    ) -> Change:
        """Commit segments that were taken; their files go unless a manifest may name them."""
        outcome = Outcome()
        try:
            change = Change(self.directory, segments, delete, replace_present=replace_present)
            self.apply(lambda base: self._prepare(change, segments, base), outcome)
        except BaseException:
            if not outcome.may_be_published:
                self._remove(segments)
            raise
        finally:
            self._let_go(segments)
        return change

    def _prepare(
        self, change: Change, staged: list[StagedSegment], base: Snapshot
    ) -> Prepared | None:
        for segment in staged:
            if not renew(self.directory, _held_file(segment.id)):
                raise StorageError(
                    f"Segment {segment.id} was collected, since it had not been committed for "
                    "too long; nothing was applied. Add the documents again."
                )
        return change.prepare(base)

    def apply(self, prepare: Prepare, outcome: Outcome) -> Manifest | None:
        """Commit what `prepare` makes of the newest generation; see `commit.commit`."""
        self._require_open()
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
        """Keep a file that no manifest names yet from being collected, until `let_go`."""
        self._reader.hold(name)

    def let_go(self, name: str) -> None:
        """Stop keeping a file."""
        self._reader.let_go(name)

    def discard(self, staged: StagedSegment | Sequence[StagedSegment]) -> None:
        """Remove staged segments; those that were committed, or may have been, stay."""
        segments = [staged] if isinstance(staged, StagedSegment) else list(staged)
        with self._lock:
            present = [segment for segment in segments if segment.id in self._uncommitted]
            self._take(present)
            self._let_go(present)
            self._remove(present)

    def _take(self, segments: Sequence[StagedSegment]) -> None:
        """Make segments the caller's alone, so that no other call commits or removes them."""
        self._require_staged(segments)
        for segment in segments:
            self._uncommitted.pop(segment.id, None)

    def _let_go(self, segments: Sequence[StagedSegment]) -> None:
        for segment in segments:
            self._reader.let_go(_held_file(segment.id))

    def _remove(self, segments: Sequence[StagedSegment]) -> None:
        for segment in segments:
            discard_folder(self.directory, f"{SEGMENTS}/{segment.id}")

    def collect(self, **grace: float) -> CollectionReport:
        """Remove what no generation needs any more; see `collection.collect`."""
        self._require_open()
        self._reader.refresh()
        return self.guard(lambda: collect(self.directory, **grace))

    def tidy(self) -> None:
        """`collect` after a change that was committed already: a failure is only logged."""
        try:
            self.collect()
        except (WeftError, FileNotFoundError) as error:
            logger.warning("Old generations could not be collected: %s", error)

    def _require_open(self) -> None:
        if self._closed is not None:
            raise WriterClosedError(
                f"The writer cannot be used any more ({self._closed}): open the index again."
            )

    def _require_staged(self, segments: Sequence[StagedSegment]) -> None:
        for segment in segments:
            if segment.id not in self._uncommitted:
                raise InvalidParameterError(
                    f"Segment {segment.id} was committed, discarded or staged by another writer: "
                    "stage the documents again."
                )

    def close(self) -> None:
        """Remove what was staged and not committed, and let go of the index."""
        with self._lock:
            self.discard(list(self._uncommitted.values()))
            if self._closed is None:
                self._closed = "it was closed"
        if self._owns_reader:
            self._reader.close()

    def after_fork(self) -> None:
        """Leave the parent what it has staged."""
        self._lock = threading.RLock()
        self._uncommitted = {}


def live_codec(base: Snapshot) -> LiveCodec | None:
    """The codec that new segments of a generation are compressed with."""
    ref, codec = base.manifest.codec, base.codec
    return None if ref is None or codec is None else LiveCodec(ref.id, codec)


def _held_file(segment_id: str) -> str:
    """The file whose time tells that a staged segment is still wanted."""
    return segment_file(segment_id, CHECKSUMS_FILE)
