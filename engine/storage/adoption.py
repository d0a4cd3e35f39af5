"""Filling a new index with embeddings that another package has compressed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..closing import Closing
from ..codec import Codec, ReconstructionError, TrainingReport
from ..codec.service import far_cosine, skew
from ..documents import Document
from .codec_store import write_codec
from .replacement import Replacement
from .segment_writer import LiveCodec, new_segment
from .staging import StagedSegment
from .writer import Writer

Rows = tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]
"""Codes, residuals, inverse norms, and the cosines of embeddings to their centroids."""


@dataclass(frozen=True, eq=False, slots=True)
class Adopted:
    """Documents of a segment, as `EncodedBatch` has them, without their embeddings.

    Args:
        documents: at least one, ids distinct.
        passage_document: uint32 [P], non-decreasing.
        ordinals: int64 [P], within each document.
        spans: int64 [P, 2].
        doclens: uint32 [P], at least 1 each.
    """

    documents: list[Document]
    passage_document: NDArray[np.uint32]
    ordinals: NDArray[np.int64]
    spans: NDArray[np.int64]
    doclens: NDArray[np.uint32]


class Adoption(Closing):
    """Segments of a codec that was not trained here; visible after `commit`, all at once.

    A context manager.

    Args:
        folder: of an index that was just made.
        codec: of all segments.
        n_embeddings: that will be staged.
        threads: 0 for all cores.
    """

    def __init__(self, folder: Path, codec: Codec, n_embeddings: int, threads: int) -> None:
        self._codec = codec
        self._n_embeddings = n_embeddings
        self._writer = Writer(folder, threads=threads)
        self._live: LiveCodec | None = None
        self._staged: list[StagedSegment] = []

    def stage(self, adopted: Adopted, rows: Iterable[Rows]) -> None:
        """Write a segment.

        Args:
            adopted: its documents.
            rows: their embeddings, in order; what the first of them look like is what later
                additions are held against, to tell whether they drift.
        """
        n_tokens = int(adopted.doclens.sum(dtype=np.int64))
        parts = iter(rows)
        first = next(parts)
        if self._live is None:
            self._live = self._commit_codec(first)
        with new_segment(
            self._writer.directory,
            dim=self._codec.dim,
            n_tokens=n_tokens,
            live=self._live,
            threads=self._writer.threads,
        ) as segment:
            segment.append_compressed(*first)
            for part in parts:
                segment.append_compressed(*part)
            segment.append_documents(adopted.documents)
            segment.append_passages(
                adopted.passage_document, adopted.ordinals, adopted.spans, adopted.doclens
            )
        ids = tuple(document.id for document in adopted.documents)
        self._staged.append(self._writer.take_over(StagedSegment(segment.ref, ids)))

    def _commit_codec(self, rows: Rows) -> LiveCodec:
        """Give the index its codec, with what is known of how it serves."""
        codes, residuals, _, cosines = rows
        report = TrainingReport(
            n_sample=self._n_embeddings,
            n_heldout=len(codes),
            n_centroids=self._codec.n_centroids,
            iterations=0,
            seconds=0.0,
            heldout_error=_estimated_error(self._codec, residuals),
            centroid_cosine=float(cosines.mean(dtype=np.float64)),
            far_cosine=far_cosine(cosines),
            skew=skew(np.bincount(codes, minlength=self._codec.n_centroids)),
        )
        writer = self._writer
        with writer.snapshot() as base, Replacement(writer, base) as work:
            ref = write_codec(
                writer.directory, self._codec, report, n_embeddings=self._n_embeddings
            )
            work.put_codecs((ref,))
            work.commit()
        return LiveCodec(ref.id, self._codec, far_cosine=ref.far_cosine)

    def commit(self) -> None:
        """Make all segments visible.

        Raises:
            DuplicateDocumentError: an id was staged twice.
            StorageError: the disk refused.
        """
        self._writer.commit(self._staged)

    def close(self) -> None:
        """Let go of the index."""
        self._writer.close()


def _estimated_error(codec: Codec, residuals: NDArray[np.uint8]) -> ReconstructionError:
    """What the residuals have lost, as far as the buckets tell: the embeddings are gone.

    Values count as spread evenly in each inner bucket, and in the two outer ones as falling off
    exponentially, with half of them beyond the weight, which is where both packages put it.
    """
    buckets = kernels.unpack(np.ascontiguousarray(residuals), codec.bits, codec.dim)
    counts = np.bincount(buckets.ravel(), minlength=1 << codec.bits)
    weights, cutoffs = codec.bucket_weights, codec.bucket_cutoffs
    squares = np.zeros(len(weights))
    squares[1:-1] = np.square(np.diff(cutoffs)) / 12
    tails = np.array([cutoffs[0] - weights[0], weights[-1] - cutoffs[-1]]) / math.log(2)
    squares[[0, -1]] = np.square(tails) * (1 + (1 - math.log(2)) ** 2)
    error = float((counts * squares).sum() / len(residuals))
    cosine = max(0.0, 1 - error / 2)
    return ReconstructionError(len(residuals), cosine, cosine, error)
