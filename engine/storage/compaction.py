"""Compaction: merges segments, drops dead rows, and compresses once the index is large enough.

It reads a pinned snapshot and commits like any other writer. What was deleted meanwhile is
carried over from old to new docnos; if an input is gone, the work is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..codec import TrainingReport
from .lineage import is_large_enough, train
from .manifest import Manifest
from .reader import Snapshot
from .replacement import Replacement
from .segment import SegmentView
from .targets import Target, neighbours, target_of
from .writer import Writer, live_codec

NOTHING = "there is nothing to merge, to drop or to compress"
"""Why most compactions that change nothing do not."""


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did.

    Args:
        generation: the newest one afterwards.
        committed: whether it changed the index.
        reason: why it did not, else "".
        segments_before, segments_after: of the whole index.
        dropped_documents: dead rows that are gone.
        training: how the codec was trained, if it was.
    """

    generation: int
    committed: bool
    reason: str
    segments_before: int
    segments_after: int
    dropped_documents: int
    training: TrainingReport | None = None


def compact(writer: Writer, *, seed: int = 0) -> CompactionReport:
    """Merge the segments of the newest generation into as few as the settings allow.

    Dead rows are dropped. An index that has reached `flat_below_tokens` and has no codec gets
    one, trained on a sample of its passages; flat segments are compressed once there is a codec,
    and so are those of 4 bits and more that belong to the epoch before or have drifted. Of 1 and
    2 bits those are left to `maintain`, which encodes their text again.
    Reading and other writers go on meanwhile; what they commit is kept. Afterwards files that
    nobody needs any more are collected.

    Args:
        writer: of the index.
        seed: of the sample and the training.

    Raises:
        CorruptIndexError: a segment is damaged; nothing was changed.
        StorageError: the disk refused; nothing was changed.
        CommitConflictError, CommitUncertainError, WriterClosedError: as `Writer.commit`.
    """
    with writer.snapshot() as base:
        report = _Compaction(writer, base, seed).run()
    if report.committed:
        writer.tidy()
    return report


class _Compaction:
    """One run over one snapshot."""

    def __init__(self, writer: Writer, base: Snapshot, seed: int) -> None:
        self._writer = writer
        self._base = base
        self._seed = seed
        self._training: TrainingReport | None = None

    def run(self) -> CompactionReport:
        with Replacement(self._writer, self._base) as work:
            self._writer.guard(lambda: self._write(work))
            committed = work.commit()
        return self._report(committed, work.reason)

    def _write(self, work: Replacement) -> None:
        """Write all that is to be committed."""
        live = live_codec(self._base)
        if live is None and is_large_enough(self._base):
            live, self._training = train(work, seed=self._seed)
        manifest = self._base.manifest
        targets = {
            view.id: target_of(view, manifest, live, from_text=False)
            for view in self._base.segments
        }
        for group in plan(self._base, targets):
            work.merge(group, targets)

    def _report(self, committed: Manifest | None, reason: str) -> CompactionReport:
        before = self._base.manifest
        after = committed or before
        left = {segment.id for segment in after.segments}
        gone = [view for view in self._base.segments if view.id not in left]
        dropped = sum(view.n_documents - view.n_alive_documents for view in gone)
        return CompactionReport(
            generation=after.generation,
            committed=committed is not None,
            reason="" if committed else reason or NOTHING,
            segments_before=len(before.segments),
            segments_after=len(after.segments),
            dropped_documents=dropped,
            training=self._training if committed else None,
        )


def plan(base: Snapshot, targets: dict[str, Target]) -> list[list[SegmentView]]:
    """Groups of neighbouring segments that are worth writing anew as one segment each.

    Args:
        base: the generation to be compacted.
        targets: what each segment is to become, by id.
    """
    max_passages = base.manifest.settings.max_segment_passages
    groups = neighbours(base.segments, targets, max_passages=max_passages)
    return [group for group in groups if len(group) > 1 or _is_worth(group[0], targets)]


def _is_worth(view: SegmentView, targets: dict[str, Target]) -> bool:
    return targets[view.id].converts or view.n_alive_documents < view.n_documents
