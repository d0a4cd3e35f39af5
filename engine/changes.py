"""The writing half of an index: checked input, staged segments, one commit per call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codec import BuildDevice
from .documents import Document
from .embeddings import check_embeddings
from .errors import (
    DuplicateDocumentError,
    EncoderError,
    InvalidEmbeddingError,
    WriterClosedError,
)
from .identity import EncoderSlot
from .ingest import embedded_batches, encoded_batches
from .storage.batch import EncodedBatch
from .storage.compaction import CompactionReport, compact
from .storage.generation import find_alive
from .storage.identifiers import IdQuery
from .storage.maintenance import MaintenanceReport, maintain
from .storage.reader import Reader
from .storage.writer import Commit, StagedSegment, Writer
from .validation import check_budget, check_flag, check_ids, make_documents


@dataclass(frozen=True, slots=True)
class AddResult:
    """What `add` and `upsert` did: the committed generation and the ids, in order."""

    generation: int
    ids: list[str]
    n_passages: int
    replaced: int


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What `delete` did: the committed generation, the ids removed and those not there."""

    generation: int
    deleted: list[str]
    missing: list[str]


class Changes:
    """Makes the changes that an `Index` object asks for, one at a time.

    Args:
        reader: of the index; closed by its owner.
        encoder: for texts.
        threads: for compression; 0 is all cores.
        device: a GPU that trains codecs and compresses; None for the processor.
    """

    def __init__(
        self,
        reader: Reader,
        encoder: EncoderSlot,
        threads: int,
        device: BuildDevice | None = None,
    ) -> None:
        self._reader = reader
        self._encoder = encoder
        self._threads = threads
        self._device = device
        self._writer: Writer | None = None
        self._lock = threading.RLock()
        self._closed = False

    def add(
        self,
        texts: Sequence[str | Document] | None,
        ids: Sequence[str] | None,
        metadata: Sequence[Mapping[str, Any]] | None,
        embeddings: Sequence[NDArray[Any]] | None,
        progress: bool,
        *,
        replace: bool,
    ) -> AddResult:
        """Check everything, encode, and commit; see `Index.add` and `Index.upsert`."""
        check_flag("progress", progress)
        n_embeddings = None if embeddings is None else _length(embeddings)
        documents = make_documents(texts, ids, metadata, n_embeddings)
        names = [document.id for document in documents]
        if not replace:
            self._refuse_present(names)
        encode = self._encoding(documents, embeddings)
        with self._writing() as writer:
            staged, commit = _stage_and_commit(writer, encode, progress, replace=replace)
        return AddResult(
            generation=commit.generation,
            ids=names,
            n_passages=sum(segment.n_passages for segment in staged),
            replaced=len(commit.replaced),
        )

    def delete(self, ids: Sequence[str]) -> DeleteResult:
        """Commit the removal of documents; see `Index.delete`."""
        checked = check_ids(ids)
        with self._writing() as writer:
            commit = writer.commit([], delete=checked)
        return DeleteResult(commit.generation, list(commit.deleted), list(commit.missing))

    def compact(self) -> CompactionReport:
        """Merge segments; see `Index.compact`."""
        with self._writing() as writer:
            return compact(writer)

    def maintain(self, seconds: float | None, max_steps: int | None) -> MaintenanceReport:
        """Do what is due; see `Index.maintain`."""
        check_budget(seconds, max_steps)
        encode = None if self._encoder.record() is None else self._encode
        with self._writing() as writer:
            shared = writer
        # Without the lock: changes must not wait for hours of training and conversion.
        return maintain(shared, encode, seconds=seconds, max_steps=max_steps)

    def _encode(self, documents: Sequence[Document]) -> Iterator[EncodedBatch]:
        """The texts of documents again, by the encoder that the index was made with."""
        return encoded_batches(documents, self._encoder.get())

    def close(self) -> None:
        """End the writer; nothing can be changed afterwards."""
        with self._lock:
            self._closed = True
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _encoding(
        self, documents: list[Document], embeddings: Sequence[NDArray[Any]] | None
    ) -> _Encode:
        """Makes the batches of the documents from `first` to `last`, as often as it is asked."""
        if embeddings is None:
            encoder = self._encoder.get()
            return lambda first, last, progress: encoded_batches(
                documents[first:last], encoder, progress=progress
            )
        dim = self._encoder.dim
        arrays = check_embeddings(embeddings, [document.id for document in documents], dim)
        return lambda first, last, _: embedded_batches(
            documents[first:last], arrays[first:last], dim
        )

    def _refuse_present(self, ids: list[str]) -> None:
        """Find a duplicate before minutes of encoding; the commit checks again."""
        with self._reader.snapshot() as base:
            found = find_alive(base.segments, IdQuery(ids))
        present = [id for id in ids if id in found]
        if present:
            raise DuplicateDocumentError(
                f"Document id {present[0]!r} is in the index"
                + (f", and {len(present) - 1} more" if len(present) > 1 else "")
                + ": use upsert to replace, or another id."
            )

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        """The one writer of this object, made when first needed; one change at a time."""
        with self._lock:
            if self._closed:
                raise WriterClosedError("The index was closed: open it again to change it.")
            if self._writer is None:
                self._writer = Writer(
                    self._reader.directory,
                    threads=self._threads,
                    reader=self._reader,
                    device=self._device,
                )
            yield self._writer


_Encode = Callable[[int, int | None, bool], Iterator[EncodedBatch]]


def _stage_and_commit(
    writer: Writer, encode: _Encode, progress: bool, *, replace: bool
) -> tuple[list[StagedSegment], Commit]:
    staged: list[StagedSegment] = []
    first = 0
    try:
        for batch in encode(0, None, progress):
            last = first + len(batch.documents)
            # Not the batch itself: all of them together may be larger than memory.
            staged.append(writer.stage(batch, recall=partial(_encode_again, encode, first, last)))
            first = last
        return staged, writer.commit(staged, replace=replace)
    except BaseException:
        # Also when the encoder fails or the user interrupts: nothing may be left behind.
        writer.discard(staged)
        raise


def _encode_again(encode: _Encode, first: int, last: int) -> EncodedBatch:
    """A batch once more, for a segment whose codec was given up meanwhile."""
    batches = list(encode(first, last, False))
    if len(batches) != 1:
        raise EncoderError(
            "The encoder makes other embeddings of the same text than before; nothing was "
            "applied. Use an encoder whose result does not change."
        )
    return batches[0]


def _length(embeddings: object) -> int:
    if not isinstance(embeddings, Sequence | np.ndarray):
        raise InvalidEmbeddingError(
            f"embeddings is a {type(embeddings).__name__}: pass a list with one array "
            "[tokens, dim] per document."
        )
    return len(embeddings)
