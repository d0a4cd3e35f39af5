"""Replacing segments by new ones: written aside from a pinned snapshot, then one commit.

What was deleted meanwhile is carried over from old to new docnos; if a segment that was read is
gone, the work is thrown away. Compaction, conversion and training all commit through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..closing import Closing
from .change import add_tombstones
from .codec_store import discard_codec
from .commit import Outcome, Prepared
from .files import discard_folder
from .layout import CHECKSUMS_FILE, SEGMENTS, codec_file, new_identifier, segment_file
from .manifest import CODED, CodecRef, Manifest, SegmentRef
from .merge import Merged, merge
from .reader import Snapshot
from .segment import SegmentView
from .targets import Target
from .tombstones import Tombstones
from .writer import Writer


class Replacement(Closing):
    """New segments for old ones, and perhaps a codec, to become visible in one commit.

    A context manager: files that were not committed are removed at its end.

    Args:
        writer: of the index.
        base: the snapshot that is worked on.

    Attributes:
        merged: what was written so far.
        reason: why `commit` gave up.
    """

    def __init__(self, writer: Writer, base: Snapshot) -> None:
        self.writer = writer
        self.base = base
        self.merged: list[Merged] = []
        self.reason = ""
        self._codecs: tuple[CodecRef, ...] | None = None
        self._partial: set[str] = set()
        self._outcome = Outcome()

    def close(self) -> None:
        """Let go of the new files, and remove them unless they were committed."""
        for id in self._outputs():
            self.writer.let_go(segment_file(id, CHECKSUMS_FILE))
        for codec in self._new_codecs():
            self.writer.let_go(codec_file(codec))
        if not self._outcome.may_be_published:
            self._discard()

    def merge(
        self,
        views: Sequence[SegmentView],
        targets: Mapping[str, Target],
    ) -> None:
        """Write the alive rows of segments of one target group as one new segment."""
        merged = merge(
            self.writer.directory,
            views,
            live=targets[views[0].id].live,
            recode={view.id for view in views if targets[view.id].recodes},
            threads=self.writer.threads,
            device=self.writer.device,
            unserved_by=targets[views[0].id].unserved_by,
        )
        self.put(merged)

    def put(self, merged: Merged) -> None:
        """Take over a new segment."""
        if merged.ref is not None:
            self.writer.hold(segment_file(merged.ref.id, CHECKSUMS_FILE))
        self.merged.append(merged)

    def keep_rest(self, view: SegmentView) -> None:
        """Let a segment stay for the documents that no new one holds; the others die in it."""
        self._partial.add(view.id)

    def put_codecs(self, codecs: tuple[CodecRef, ...]) -> None:
        """Take over the codecs of the next generation, one of which was just written."""
        self._codecs = codecs
        for codec in self._new_codecs():
            self.writer.hold(codec_file(codec))

    def commit(self) -> Manifest | None:
        """Make it visible.

        Returns:
            The new generation's manifest; None if there is nothing to commit, or if another
            writer changed what was worked on: then `reason` says so.

        Raises:
            StorageError, CommitConflictError, CommitUncertainError, WriterClosedError: as
                `Writer.commit`.
        """
        if not self.merged and self._codecs is None:
            return None
        return self.writer.apply(self._prepare, self._outcome)

    def _prepare(self, newest: Snapshot) -> Prepared | None:
        """The successor of the newest generation; None if the work fits it no more."""
        manifest = newest.manifest
        segments = self._segments(manifest)
        codecs = manifest.codecs if self._codecs is None else self._codecs
        if not self._fits(manifest, replace(manifest, codecs=codecs)):
            return None
        refs, files = add_tombstones(
            self.writer.directory, newest, segments, self._tombstones(newest), rewrite=True
        )
        successor = replace(
            manifest,
            generation=manifest.generation + 1,
            commit_uuid=new_identifier(),
            codecs=needed_codecs(codecs, segments),
            segments=segments,
            tombstones=refs,
        )
        return Prepared(successor, files)

    def _fits(self, newest: Manifest, successor: Manifest) -> bool:
        if self._codecs is not None and newest.codecs != self.base.manifest.codecs:
            self.reason = "another writer changed the codec meanwhile"
            return False
        present = {segment.id for segment in newest.segments}
        if not all(id in present for merged in self.merged for id in merged.inputs):
            self.reason = "another writer compacted a segment meanwhile"
            return False
        coded = [m.ref for m in self.merged if m.ref is not None and m.ref.kind == CODED]
        if not all(successor.codec_of(ref) for ref in coded):
            self.reason = "another writer replaced the codec meanwhile"
            return False
        return True

    def _segments(self, newest: Manifest) -> tuple[SegmentRef, ...]:
        """The newest segments, outputs standing where the first of their inputs stood."""
        outputs: dict[str, list[SegmentRef]] = {}
        for merged in self.merged:
            if merged.ref is not None:
                outputs.setdefault(merged.inputs[0], []).append(merged.ref)
        gone = {id for merged in self.merged for id in merged.inputs} - self._partial
        segments: list[SegmentRef] = []
        for segment in newest.segments:
            segments += outputs.get(segment.id, [])
            if segment.id not in gone:
                segments.append(segment)
        return tuple(segments)

    def _tombstones(self, newest: Snapshot) -> Tombstones:
        """Rows of outputs that died in their inputs since the base, and rows that moved away."""
        base = {view.id: view for view in self.base.segments}
        now = {view.id: view for view in newest.segments}
        rows: dict[str, list[NDArray[np.int64]]] = {}
        for merged in self.merged:
            for id in merged.inputs:
                docnos = merged.docnos[id]
                if id in self._partial:
                    rows.setdefault(id, []).append(np.flatnonzero(docnos >= 0))
                if merged.ref is not None:
                    dead = docnos[_died(base[id], now[id])]
                    rows.setdefault(merged.ref.id, []).append(dead[dead >= 0])
        united = {
            id: np.unique(np.concatenate(parts)).astype(np.uint32) for id, parts in rows.items()
        }
        return Tombstones(rows={id: docnos for id, docnos in united.items() if len(docnos)})

    def _outputs(self) -> list[str]:
        return [merged.ref.id for merged in self.merged if merged.ref is not None]

    def _new_codecs(self) -> list[str]:
        known = {codec.id for codec in self.base.manifest.codecs}
        return [codec.id for codec in self._codecs or () if codec.id not in known]

    def _discard(self) -> None:
        """Remove the new files, which no manifest names."""
        for id in self._outputs():
            discard_folder(self.writer.directory, f"{SEGMENTS}/{id}")
        for codec in self._new_codecs():
            discard_codec(self.writer.directory, codec)


def needed_codecs(
    codecs: Sequence[CodecRef], segments: Sequence[SegmentRef]
) -> tuple[CodecRef, ...]:
    """The live codec, and those before it that segments still need."""
    coded = [segment for segment in segments if segment.kind == CODED]
    return tuple(
        codec
        for codec in codecs
        if codec is codecs[-1] or any(codec.reads(s.codec, s.n_centroids) for s in coded)
    )


def _died(base: SegmentView, now: SegmentView) -> NDArray[np.bool_]:
    """bool [n_documents]: alive in the base and not any more."""
    everything = np.ones(base.n_documents, dtype=np.bool_)
    was = everything if base.alive_documents is None else base.alive_documents
    now_alive = everything if now.alive_documents is None else now.alive_documents
    return was & ~now_alive
