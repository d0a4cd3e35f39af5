"""What an index holds and what it takes, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .storage.manifest import CODED, CodecRef
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
        codec: None while the index is flat.
        size_bytes: bytes on disk by part.
        bytes_per_token: on disk per token that is stored, without text and full-text index.
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
    size_bytes: dict[str, int]
    bytes_per_token: float


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
        size_bytes=sizes,
        bytes_per_token=vectors / stored if stored else 0.0,
    )


def _codec_stats(codec: CodecRef) -> CodecStats:
    return CodecStats(
        n_centroids=codec.n_centroids,
        bits=codec.bits,
        hash=codec.hash,
        mean_cosine=codec.mean_cosine,
        mean_squared_error=codec.mean_squared_error,
    )
