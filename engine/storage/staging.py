"""Staged segments: durable files that no manifest names yet, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..codec import BuildDevice
from ..errors import InvalidParameterError
from .batch import EncodedBatch
from .files import collected, discard_folder
from .layout import CHECKSUMS_FILE, SEGMENTS, segment_file
from .manifest import Manifest, SegmentRef
from .pins import keep
from .reader import Reader
from .segment_writer import LiveCodec, new_segment

Recall = Callable[[], EncodedBatch]
"""Makes the same batch again."""


@dataclass(frozen=True, eq=False, slots=True)
class StagedSegment:
    """A segment whose files are durable and which no manifest names yet.

    Args:
        ref: what the manifest will say of it.
        ids: of its documents, by docno.
        sequences: uint64 [D] of its documents; None where they get that of the commit.
        recall: hands out its batch once more, should its codec be given up before the commit;
            None for a flat segment.
    """

    ref: SegmentRef
    ids: tuple[str, ...]
    sequences: NDArray[np.uint64] | None = None
    recall: Recall | None = None

    @property
    def id(self) -> str:
        """The segment's folder."""
        return self.ref.id

    @property
    def n_documents(self) -> int:
        """Documents in it."""
        return self.ref.n_documents

    @property
    def n_passages(self) -> int:
        """Passages in it."""
        return self.ref.n_passages

    @property
    def n_tokens(self) -> int:
        """Embeddings in it."""
        return self.ref.n_tokens

    @property
    def held_file(self) -> str:
        """The file whose time tells that the segment is still wanted."""
        return segment_file(self.id, CHECKSUMS_FILE)


class Staging:
    """The staged segments of one writer; registered under its lock.

    Args:
        reader: renews them.
        threads: for compression; 0 is all cores.
        device: a GPU that compresses; None for the processor.
    """

    def __init__(self, reader: Reader, threads: int, device: BuildDevice | None = None) -> None:
        self._reader = reader
        self._directory = reader.directory
        self._threads = threads
        self._device = device
        self._uncommitted: dict[str, StagedSegment] = {}

    def write(
        self,
        batch: EncodedBatch,
        live: LiveCodec | None,
        sequences: NDArray[np.uint64] | None,
        recall: Recall | None,
        unserved_by: str | None = None,
    ) -> StagedSegment:
        """Write a batch as a segment, coded if there is a codec that serves it, and renew it from
        now on."""
        live = None if unserved_by is not None else live
        with new_segment(
            self._directory,
            dim=batch.dim,
            n_tokens=batch.n_tokens,
            live=live,
            threads=self._threads,
            unserved_by=unserved_by,
            device=self._device,
        ) as segment:
            segment.append_embeddings(batch.embeddings)
            segment.append_documents(batch.documents, sequences)
            segment.append_passages(
                batch.passage_document, batch.ordinals(), batch.spans, batch.doclens
            )
        if live is not None and recall is None:
            recall = _Held(batch)
        ids = tuple(document.id for document in batch.documents)
        staged = StagedSegment(segment.ref, ids, sequences, recall if live is not None else None)
        self._reader.hold(staged.held_file)
        return staged

    def register(self, segment: StagedSegment) -> None:
        """Have a segment wait for its commit."""
        self._uncommitted[segment.id] = segment

    def waiting(self) -> list[StagedSegment]:
        """The segments that wait."""
        return list(self._uncommitted.values())

    def take(self, segments: Iterable[StagedSegment]) -> None:
        """Make segments the caller's alone, so that no other call commits or removes them.

        Raises:
            InvalidParameterError: one of them does not wait for its commit.
        """
        segments = list(segments)
        for segment in segments:
            if segment.id not in self._uncommitted:
                raise InvalidParameterError(
                    f"Segment {segment.id} was committed, discarded or staged by another writer: "
                    "stage the documents again."
                )
        for segment in segments:
            self._uncommitted.pop(segment.id, None)

    def let_go(self, segments: Iterable[StagedSegment]) -> None:
        """Stop renewing segments: they were committed, or will be removed."""
        for segment in segments:
            self._reader.let_go(segment.held_file)

    def remove(self, segments: Iterable[StagedSegment]) -> None:
        """Remove the files of segments that no manifest names."""
        for segment in segments:
            self._reader.let_go(segment.held_file)
            discard_folder(self._directory, f"{SEGMENTS}/{segment.id}")

    def forget(self) -> None:
        """Leave them to the process that staged them."""
        self._uncommitted = {}

    def keep(self, segment: StagedSegment) -> None:
        """Make sure that a segment is not collected before a manifest is published.

        Raises:
            StorageError: it was, or is about to be.
        """
        if not keep(self._directory, segment.held_file):
            raise collected(f"{SEGMENTS}/{segment.id}")

    def compressed_again(self, segment: StagedSegment, live: LiveCodec | None) -> StagedSegment:
        """A segment of the same documents, made with the codec that is live now."""
        if segment.recall is None:
            return segment
        again = self.write(segment.recall(), live, segment.sequences, segment.recall)
        self.remove([segment])
        return again


@dataclass(frozen=True, eq=False, slots=True)
class _Held:
    """A batch that is kept until its segment was committed."""

    batch: EncodedBatch

    def __call__(self) -> EncodedBatch:
        return self.batch


def is_readable(segment: StagedSegment, manifest: Manifest) -> bool:
    """Whether a segment is flat, or made with the live codec or one that this was appended to."""
    ref, live = segment.ref, manifest.codec
    return ref.codec is None or (live is not None and live.reads(ref.codec, ref.n_centroids))
