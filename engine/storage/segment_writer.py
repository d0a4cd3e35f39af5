"""Writes one segment's files, in bounded memory: staging and compaction both use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..codec import BuildDevice, Codec
from ..codec.service import Tally
from ..documents import Document
from .checksums import file_checksums
from .directory import Directory, NewFile
from .files import collected, discard_folder, write_tensors
from .identifiers import id_tensors
from .inverted_lists import InvertedLists
from .layout import (
    ARRAYS_FILE,
    CHECKSUMS_FILE,
    PASSAGES_FILE,
    SEGMENTS,
    new_identifier,
    segment_file,
)
from .manifest import CODED, FLAT, FileRef, SegmentRef
from .passages_writer import PassagesWriter
from .tensors import TensorWriter

COMPRESS_BYTES: Final = 64 * 2**20
"""Float32 embeddings that are compressed at a time."""


@dataclass(frozen=True, slots=True)
class LiveCodec:
    """A codec and the id under which the index keeps it.

    Args:
        id: of the codec, or of one of its prefixes.
        codec: that segments are compressed and read with.
        prefix: centroids of the prefix, where `id` is one: such segments take codes that were
            made with it and cannot compress.
        far_cosine: of its epoch, below which an embedding is far; None if that was not recorded.
    """

    id: str
    codec: Codec
    prefix: int | None = None
    far_cosine: float | None = None

    @property
    def n_centroids(self) -> int:
        """Codes of its segments are below it."""
        return self.codec.n_centroids if self.prefix is None else self.prefix


class SegmentWriter:
    """Receives the content of a new segment, within `new_segment`.

    Documents, passages and tokens are appended in the order of their numbers, each in chunks of
    any size. `ref` describes the segment once the context has ended.
    """

    ref: SegmentRef

    def __init__(
        self,
        file: NewFile,
        passages: PassagesWriter,
        shape: tuple[int, int],
        live: LiveCodec | None,
        threads: int,
        unserved_by: str | None = None,
        device: BuildDevice | None = None,
    ) -> None:
        self._tensors = TensorWriter(file)
        self._passages = passages
        self._n_tokens, self._dim = shape
        self._live = live
        self._threads = threads
        self._device = device
        self._unserved_by = unserved_by
        self._ids: list[str] = []
        self._sequences: list[NDArray[np.uint64]] = []
        self._passage_documents: list[NDArray[np.uint32]] = []
        self._doclens: list[NDArray[np.uint32]] = []
        self._tally = None if live is None else Tally(live.n_centroids, live.far_cosine)
        self._reserve_tokens()

    def _reserve_tokens(self) -> None:
        """Token arrays come first: their sizes are known before the rest is."""
        n, reserve = self._n_tokens, self._tensors.reserve
        if self._live is None:
            self._embeddings = reserve("embeddings", np.float16, (n, self._dim))
            return
        code_dtype = np.uint16 if self._live.n_centroids <= 1 << 16 else np.uint32
        self._codes = reserve("codes", code_dtype, (n,))
        self._residuals = reserve("residuals", np.uint8, (n, self._live.codec.residual_bytes))
        self._inverse_norms = reserve("inverse_norms", np.uint8, (n,))

    def append_documents(
        self, documents: Sequence[Document], sequences: NDArray[np.uint64] | None = None
    ) -> None:
        """Append documents, with a sequence each where they have one already."""
        self._ids += [document.id for document in documents]
        self._passages.add_documents(documents)
        if sequences is not None:
            self._sequences.append(sequences)

    def append_passages(
        self,
        docnos: NDArray[Any],
        ordinals: NDArray[Any],
        spans: NDArray[np.int64],
        doclens: NDArray[np.uint32],
    ) -> None:
        """Append passages: docno, ordinal within the document, span and length of each."""
        self._passage_documents.append(docnos.astype(np.uint32, copy=False))
        self._doclens.append(doclens.astype(np.uint32, copy=False))
        self._passages.add_passages(docnos, ordinals, spans)

    def append_embeddings(self, embeddings: NDArray[np.floating[Any]]) -> None:
        """Append embeddings float16 or float32 [n, dim], compressed if the segment is coded."""
        if self._live is None:
            self._embeddings.append(embeddings)
            return
        if self._live.prefix is not None:
            raise ValueError("a prefix's segments take codes only")
        rows = max(1, COMPRESS_BYTES // (4 * self._dim))
        for start in range(0, len(embeddings), rows):
            part = embeddings[start : start + rows]
            packed = self._live.codec.compress(part, threads=self._threads, device=self._device)
            self._put_codes(packed.codes, packed.residuals, packed.inverse_norms)
            if self._tally is not None:
                self._tally.add(packed.codes, packed.cosines)

    def append_codes(
        self,
        codes: NDArray[Any],
        residuals: NDArray[np.uint8],
        inverse_norms: NDArray[np.uint8],
        origin: SegmentRef,
    ) -> None:
        """Append tokens that are compressed with the segment's codec already.

        Args:
            codes, residuals, inverse_norms: one row per token.
            origin: the segment that they are from, whose figures of drift stand for theirs.
        """
        self._put_codes(codes, residuals, inverse_norms)
        if self._tally is not None:
            self._tally.add_copied(codes, origin.centroid_cosine or 0.0, origin.far_share)

    def append_compressed(
        self,
        codes: NDArray[Any],
        residuals: NDArray[np.uint8],
        inverse_norms: NDArray[np.uint8],
        cosines: NDArray[np.floating[Any]],
    ) -> None:
        """Append tokens that somebody else compressed, with the cosines to their centroids."""
        self._put_codes(codes, residuals, inverse_norms)
        if self._tally is not None:
            self._tally.add(codes, cosines)

    def _put_codes(
        self,
        codes: NDArray[Any],
        residuals: NDArray[np.uint8],
        inverse_norms: NDArray[np.uint8],
    ) -> None:
        self._codes.append(codes)
        self._residuals.append(residuals)
        self._inverse_norms.append(inverse_norms)

    def finish_content(self) -> None:
        """Write what follows from the rest, and close the SQLite file."""
        tensors: dict[str, NDArray[Any]] = {
            "doclens": np.concatenate(self._doclens),
            "passage_document": np.concatenate(self._passage_documents),
        }
        self.n_passages = len(tensors["doclens"])
        if self._sequences:
            tensors["sequences"] = np.concatenate(self._sequences)
        if self._live is not None:
            self._put_inverted_lists(tensors["doclens"], self._live.n_centroids)
        for name, tensor in (tensors | id_tensors(self._ids)).items():
            self._tensors.put(name, tensor)
        self._tensors.finish()
        self._passages.finish()

    def _put_inverted_lists(self, doclens: NDArray[np.uint32], n_centroids: int) -> None:
        lists = InvertedLists(self._codes.read, doclens, n_centroids)
        filled = np.flatnonzero(lists.lengths)
        lengths = lists.lengths.astype(np.uint32)
        # A sparse segment names its non-empty lists; a dense one has a length for each centroid.
        if 2 * len(filled) < n_centroids:
            self._tensors.put("ivf_centroids", filled.astype(np.uint32))
            lengths = lengths[filled]
        self._tensors.put("ivf_lengths", lengths)
        pids = self._tensors.reserve("ivf_pids", np.uint32, (lists.n_entries,))
        for chunk in lists.chunks():
            pids.append(chunk)

    def describe(self, directory: Directory, segment_id: str, checksums: FileRef) -> SegmentRef:
        """What the manifest says of the segment."""
        arrays, passages = (
            directory.status(segment_file(segment_id, file)).size_bytes
            for file in (ARRAYS_FILE, PASSAGES_FILE)
        )
        live, tally = self._live, self._tally
        return SegmentRef(
            id=segment_id,
            kind=FLAT if live is None else CODED,
            n_documents=len(self._ids),
            n_passages=self.n_passages,
            n_tokens=self._n_tokens,
            sequence=max((int(part.max()) for part in self._sequences), default=0),
            codec=None if live is None else live.id,
            n_centroids=0 if live is None else live.n_centroids,
            centroid_cosine=None if tally is None else tally.cosine,
            arrays_bytes=arrays,
            passages_bytes=passages,
            checksums=checksums,
            far_share=None if tally is None else tally.far_share,
            skew=None if tally is None else tally.skew,
            unserved_by=self._unserved_by,
        )


@contextmanager
def new_segment(
    directory: Directory,
    *,
    dim: int,
    n_tokens: int,
    live: LiveCodec | None,
    threads: int = 0,
    unserved_by: str | None = None,
    device: BuildDevice | None = None,
) -> Iterator[SegmentWriter]:
    """Write a segment that nothing refers to before a manifest does.

    When the context ends its files are durable; when it fails they are removed.

    Args:
        directory: of the index.
        dim: components per embedding.
        n_tokens: embeddings that will be appended.
        live: the codec of a coded segment; None makes a flat one.
        threads: for compression; 0 is all cores.
        unserved_by: of a flat segment that is held, see `SegmentRef`.
        device: a GPU that compresses; None for the processor.

    Raises:
        StorageError: the disk refused, or the files were collected meanwhile.
        DeviceMemoryError, DeviceFailedError: a GPU that is required refused or failed.
    """
    segment_id = new_identifier()
    folder = f"{SEGMENTS}/{segment_id}"
    try:
        with (
            directory.create(segment_file(segment_id, ARRAYS_FILE)) as file,
            directory.create_by_path(segment_file(segment_id, PASSAGES_FILE)) as path,
            PassagesWriter(path) as passages,
        ):
            writer = SegmentWriter(
                file, passages, (n_tokens, dim), live, threads, unserved_by, device
            )
            yield writer
            writer.finish_content()
        checksums = _write_checksums(directory, segment_id)
        directory.sync_folder(folder)
        directory.sync_folder(SEGMENTS)
        writer.ref = writer.describe(directory, segment_id, checksums)
    except FileNotFoundError as error:
        discard_folder(directory, folder)
        raise collected(folder) from error
    except BaseException:
        discard_folder(directory, folder)
        raise


def _write_checksums(directory: Directory, segment_id: str) -> FileRef:
    tables: dict[str, NDArray[Any]] = {
        file: file_checksums(directory, segment_file(segment_id, file))
        for file in (ARRAYS_FILE, PASSAGES_FILE)
    }
    return write_tensors(directory, segment_file(segment_id, CHECKSUMS_FILE), tables)
