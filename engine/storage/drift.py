"""Drift: how much worse a codec serves what is added than what it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from .manifest import CodecRef, Manifest, SegmentRef

DRIFT_BOUND: Final = 0.15
"""Fall of the mean cosine to the centroids at which a segment has drifted.

Measured with MiniLM's vectors (384 dimensions, and 128 by PCA), codecs of 4,096 and 8,192
centroids trained on half of SciFact and of Cranfield. Other documents of the same collection fell
by 0.03 to 0.06 in the mean, and by at most 0.13 in segments of 5 documents and 0.09 of 20;
documents of other collections (also CISI and Vaswani) by 0.24 to 0.44 in the mean, and at least by
0.17 of 5 documents and 0.22 of 100.
"""

FINE_BITS: Final = 4
"""Bits from which embeddings may be compressed a second time, from what the first one kept."""


def drift(codec: CodecRef, segment: SegmentRef) -> float:
    """By how much the segment's mean cosine to its centroids lies below the codec's own.

    Args:
        codec: that the segment is read with.
        segment: coded.
    """
    return codec.centroid_cosine - (segment.centroid_cosine or 0.0)


def far_excess(codec: CodecRef, segment: SegmentRef) -> float | None:
    """By how much the segment's share of far embeddings lies above the codec's own.

    Args:
        codec: that the segment is read with.
        segment: coded.

    Returns:
        None where one of the two was not recorded.
    """
    if codec.far_share is None or segment.far_share is None:
        return None
    return segment.far_share - codec.far_share


def mean_of(
    segments: Iterable[SegmentRef], figure: Callable[[SegmentRef], float | None]
) -> float | None:
    """The mean of a figure over the embeddings of segments; None where none of them has it."""
    known = [(segment.n_tokens, figure(segment)) for segment in segments]
    weighted = [(n_tokens, value) for n_tokens, value in known if value is not None]
    if not weighted:
        return None
    return sum(n * value for n, value in weighted) / sum(n for n, _ in weighted)


def is_served_badly(codec: CodecRef, segment: SegmentRef) -> bool:
    """Whether a coded segment has drifted from the codec that it is read with."""
    return drift(codec, segment) > DRIFT_BOUND


def drifted(manifest: Manifest, segment: SegmentRef) -> bool:
    """Whether a coded segment of the live epoch is served badly by the codec it was made with."""
    live = manifest.codec
    if live is None or manifest.codec_of(segment) is not live:
        return False
    return is_served_badly(live, segment)


def is_stale(manifest: Manifest, segment: SegmentRef) -> bool:
    """Whether a drifted segment has fewer centroids than the live codec, made for its like."""
    live = manifest.codec
    return live is not None and segment.codec != live.id and drifted(manifest, segment)
