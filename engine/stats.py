"""What an index holds and what it takes, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .storage.drift import drift, is_served_badly, mean_of
from .storage.manifest import CODED, CodecRef, Manifest
from .view import IndexView

TEXT_PARTS: Final = frozenset({"passages"})
"""Parts that hold text, metadata and the full-text index rather than vectors."""


@dataclass(frozen=True, slots=True)
class CodecStats:
    """The codec of an index and what it loses.

    Args:
        n_centroids: K.
        bits: residual bits per dimension.
        hash: of its tensors.
        mean_cosine: mean cosine between held-out embeddings and their reconstructions.
        mean_squared_error: mean squared Euclidean distance between the two.
    """

    n_centroids: int
    bits: int
    hash: str
    mean_cosine: float
    mean_squared_error: float


@dataclass(frozen=True, slots=True)
class EpochStats:
    """One training of the codec, with what was appended to it since.

    Args:
        epoch: counts trainings, from 1; the highest is the one that new segments are made with.
        n_centroids: K, appended ones included.
        n_appends: times that centroids were appended.
        n_embeddings: of the collection when it was trained.
        n_segments: made in this epoch.
        n_tokens: in them, dead ones included.
        centroid_cosine: mean cosine to the centroids that drift is measured against.
        worst_drift: by how much the worst of its segments lies below that; 0 without segments.
        n_drifted_segments: of its segments, those that drift counts as served badly.
        far_cosine: cosine to its centroid below which an embedding is far: the 5th percentile of
            those held out in training. None, like what follows, where it was not recorded.
        far_share: share of its segments' embeddings that are far; 0.05 where nothing drifted.
        worst_far_share: of the segment that has most of them.
        trained_skew: by how much uneven filling of the centroids lengthens a visited list, of the
            embeddings held out in training; 1 is even.
        skew: the same of its segments, in the mean over embeddings.
    """

    epoch: int
    n_centroids: int
    n_appends: int
    n_embeddings: int
    n_segments: int
    n_tokens: int
    centroid_cosine: float
    worst_drift: float
    n_drifted_segments: int
    far_cosine: float | None
    far_share: float | None
    worst_far_share: float | None
    trained_skew: float | None
    skew: float | None


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts and sizes of one generation; deleted documents are not counted but take space.

    Args:
        generation: number of the commit.
        n_documents, n_passages, n_tokens: alive ones.
        n_deleted_documents: still on disk, until `compact`.
        n_segments, n_flat_segments: all, and those that are scored exactly.
        dim: components per embedding.
        bits: residual bits per dimension, once the index is coded.
        encoder: name of the encoder; None for an index of ready-made embeddings.
        codec: that new segments are made with; None while the index is flat.
        epochs: of all codecs in use, ascending: two while segments are being converted.
        size_bytes: bytes on disk by part.
        bytes_per_token: on disk per token that is stored, without text and full-text index.
        reclaimable_bytes: of segments that this generation does not name: merged or converted
            ones that await collection, ones being written, and ones left behind.
    """

    generation: int
    n_documents: int
    n_passages: int
    n_tokens: int
    n_deleted_documents: int
    n_segments: int
    n_flat_segments: int
    dim: int
    bits: int
    encoder: str | None
    codec: CodecStats | None
    epochs: list[EpochStats]
    size_bytes: dict[str, int]
    bytes_per_token: float
    reclaimable_bytes: int


def index_stats(view: IndexView) -> IndexStats:
    """Count and measure one generation."""
    manifest, snapshot = view.manifest, view.snapshot
    sizes = snapshot.sizes()
    stored = sum(segment.n_tokens for segment in view.segments)
    vectors = sum(size for part, size in sizes.items() if part not in TEXT_PARTS)
    return IndexStats(
        generation=view.generation,
        n_documents=snapshot.n_documents,
        n_passages=snapshot.n_passages,
        n_tokens=snapshot.n_tokens,
        n_deleted_documents=sum(s.n_documents for s in view.segments) - snapshot.n_documents,
        n_segments=len(view.segments),
        n_flat_segments=sum(segment.kind != CODED for segment in view.segments),
        dim=manifest.dim,
        bits=manifest.settings.bits,
        encoder=None if manifest.encoder is None else str(manifest.encoder.get("name")),
        codec=None if manifest.codec is None else _codec_stats(manifest.codec),
        epochs=[_epoch_stats(codec, manifest) for codec in manifest.codecs],
        size_bytes=sizes,
        bytes_per_token=vectors / stored if stored else 0.0,
        reclaimable_bytes=snapshot.reclaimable_bytes(),
    )


def _epoch_stats(codec: CodecRef, manifest: Manifest) -> EpochStats:
    segments = [segment for segment in manifest.segments if manifest.codec_of(segment) is codec]
    drifts = [drift(codec, segment) for segment in segments]
    return EpochStats(
        epoch=codec.epoch,
        n_centroids=codec.n_centroids,
        n_appends=len(codec.prefixes),
        n_embeddings=codec.n_embeddings,
        n_segments=len(segments),
        n_tokens=sum(segment.n_tokens for segment in segments),
        centroid_cosine=codec.centroid_cosine,
        worst_drift=max(drifts, default=0.0),
        n_drifted_segments=sum(is_served_badly(codec, segment) for segment in segments),
        far_cosine=codec.far_cosine,
        far_share=mean_of(segments, lambda segment: segment.far_share),
        worst_far_share=max(
            (s.far_share for s in segments if s.far_share is not None), default=None
        ),
        trained_skew=codec.skew,
        skew=mean_of(segments, lambda segment: segment.skew),
    )


def _codec_stats(codec: CodecRef) -> CodecStats:
    return CodecStats(
        n_centroids=codec.n_centroids,
        bits=codec.bits,
        hash=codec.hash,
        mean_cosine=codec.mean_cosine,
        mean_squared_error=codec.mean_squared_error,
    )
