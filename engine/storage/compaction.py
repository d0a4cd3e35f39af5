"""Compaction: merges segments, drops dead rows, and compresses once the index is large enough.

It reads a pinned snapshot and commits like any other writer. What was deleted meanwhile is
carried over from old to new docnos; if an input is gone, the work is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..codec import TrainingReport, train_codec
from .change import add_tombstones
from .codec_store import discard_codec, write_codec
from .commit import Outcome, Prepared
from .files import discard_folder
from .layout import CHECKSUMS_FILE, SEGMENTS, codec_file, new_identifier, segment_file
from .manifest import CODED, FLAT, CodecRef, Manifest, SegmentRef
from .merge import Merged, merge
from .reader import Snapshot
from .sampling import training_sample
from .segment import SegmentView
from .segment_writer import LiveCodec
from .tombstones import Tombstones
from .writer import Writer, live_codec


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
    one, trained on a sample of its passages; flat segments are compressed once there is a codec.
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
        self._directory = writer.directory
        self._base = base
        self._seed = seed
        self._trained: CodecRef | None = None
        self._training: TrainingReport | None = None
        self._merged: list[Merged] = []
        self._committed: Manifest | None = None
        self._outcome = Outcome()
        self._reason = "there is nothing to merge, to drop or to compress"

    def run(self) -> CompactionReport:
        try:
            self._writer.guard(self._write)
            if self._merged:
                self._committed = self._writer.apply(self._prepare, self._outcome)
        finally:
            self._let_go()
            if not self._outcome.may_be_published:
                self._discard()
        return self._report()

    def _write(self) -> None:
        """Write all that is to be committed."""
        live = self._live_codec()
        for group in plan(self._base, live):
            self._merged.append(self._merge(group, live))

    def _live_codec(self) -> LiveCodec | None:
        """The codec of the index, or a new one if it has grown enough."""
        present = live_codec(self._base)
        settings = self._base.manifest.settings
        n_tokens = self._base.n_tokens
        if present is not None or n_tokens < max(1, settings.flat_below_tokens):
            return present
        views = [view for view in self._base.segments if view.n_alive_tokens]
        codec, self._training = train_codec(
            training_sample(views, seed=self._seed),
            n_embeddings=n_tokens,
            bits=settings.bits,
            seed=self._seed,
            threads=self._writer.threads,
        )
        self._trained = write_codec(self._directory, codec, self._training, n_embeddings=n_tokens)
        self._writer.hold(codec_file(self._trained.id))
        return LiveCodec(self._trained.id, codec)

    def _merge(self, group: list[SegmentView], live: LiveCodec | None) -> Merged:
        merged = merge(self._directory, group, live=live, threads=self._writer.threads)
        if merged.ref is not None:
            self._writer.hold(segment_file(merged.ref.id, CHECKSUMS_FILE))
        return merged

    def _prepare(self, newest: Snapshot) -> Prepared | None:
        """The successor of the newest generation; None if the work fits it no more."""
        if not self._fits(newest.manifest):
            return None
        segments = self._segments(newest.manifest)
        refs, files = add_tombstones(
            self._directory, newest, segments, self._late_tombstones(newest), rewrite=True
        )
        manifest = newest.manifest
        successor = replace(
            manifest,
            generation=manifest.generation + 1,
            commit_uuid=new_identifier(),
            codecs=manifest.codecs if self._trained is None else (self._trained,),
            segments=segments,
            tombstones=refs,
        )
        return Prepared(successor, files)

    def _fits(self, newest: Manifest) -> bool:
        if newest.codecs != self._base.manifest.codecs:
            self._reason = "another writer changed the codec meanwhile"
            return False
        present = {segment.id for segment in newest.segments}
        if not all(id in present for merged in self._merged for id in merged.inputs):
            self._reason = "another writer compacted a segment meanwhile"
            return False
        return True

    def _segments(self, newest: Manifest) -> tuple[SegmentRef, ...]:
        """The newest segments, each output standing where the first of its inputs stood."""
        outputs = {merged.inputs[0]: merged.ref for merged in self._merged}
        gone = {id for merged in self._merged for id in merged.inputs}
        segments = [
            outputs.get(segment.id) if segment.id in gone else segment
            for segment in newest.segments
        ]
        return tuple(segment for segment in segments if segment is not None)

    def _late_tombstones(self, newest: Snapshot) -> Tombstones:
        """Rows of the outputs that died in their inputs since the base."""
        base = {view.id: view for view in self._base.segments}
        now = {view.id: view for view in newest.segments}
        rows = {}
        for merged in self._merged:
            if merged.ref is None:
                continue
            dead = [
                merged.docnos[id][_died(base[id], now[id])].astype(np.uint32)
                for id in merged.inputs
            ]
            rows[merged.ref.id] = np.sort(np.concatenate(dead))
        return Tombstones(rows={id: docnos for id, docnos in rows.items() if len(docnos)})

    def _outputs(self) -> list[str]:
        return [merged.ref.id for merged in self._merged if merged.ref is not None]

    def _let_go(self) -> None:
        """Stop renewing the new files: they were committed, or will be removed."""
        for id in self._outputs():
            self._writer.let_go(segment_file(id, CHECKSUMS_FILE))
        if self._trained is not None:
            self._writer.let_go(codec_file(self._trained.id))

    def _discard(self) -> None:
        """Remove the new files, which no manifest names."""
        for id in self._outputs():
            discard_folder(self._directory, f"{SEGMENTS}/{id}")
        if self._trained is not None:
            discard_codec(self._directory, self._trained.id)

    def _report(self) -> CompactionReport:
        before = self._base.manifest
        after = self._committed or before
        dropped = sum(int((d < 0).sum()) for merged in self._merged for d in merged.docnos.values())
        committed = self._committed is not None
        return CompactionReport(
            generation=after.generation,
            committed=committed,
            reason="" if committed else self._reason,
            segments_before=len(before.segments),
            segments_after=len(after.segments),
            dropped_documents=dropped if committed else 0,
            training=self._training if committed else None,
        )


def _died(base: SegmentView, now: SegmentView) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """bool [n_documents]: alive in the base and not any more."""
    everything = np.ones(base.n_documents, dtype=np.bool_)
    was = everything if base.alive_documents is None else base.alive_documents
    now_alive = everything if now.alive_documents is None else now.alive_documents
    return was & ~now_alive


def plan(base: Snapshot, live: LiveCodec | None) -> list[list[SegmentView]]:
    """Groups of neighbouring segments that are worth writing anew as one segment each.

    Args:
        base: the generation to be compacted.
        live: the codec of the outputs; None keeps them flat.
    """
    kind = FLAT if live is None else CODED
    groups = _neighbours(base.segments, base.manifest.settings.max_segment_passages)
    return [group for group in groups if len(group) > 1 or _is_worth_rewriting(group[0], kind)]


def _neighbours(views: Sequence[SegmentView], max_passages: int) -> list[list[SegmentView]]:
    groups: list[list[SegmentView]] = []
    filled = 0
    for view in views:
        if groups and filled + view.n_alive_passages <= max_passages:
            groups[-1].append(view)
            filled += view.n_alive_passages
        else:
            groups.append([view])
            filled = view.n_alive_passages
    return groups


def _is_worth_rewriting(view: SegmentView, kind: str) -> bool:
    return view.kind != kind or view.n_alive_documents < view.n_documents
