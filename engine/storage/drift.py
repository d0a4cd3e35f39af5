"""Drift: how much worse a codec serves what is added than what it was trained on."""

from __future__ import annotations

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


def drifted(manifest: Manifest, segment: SegmentRef) -> bool:
    """Whether a coded segment of the live epoch is served badly by the codec it was made with."""
    live = manifest.codec
    if live is None or manifest.codec_of(segment) is not live:
        return False
    return drift(live, segment) > DRIFT_BOUND


def is_stale(manifest: Manifest, segment: SegmentRef) -> bool:
    """Whether a drifted segment has fewer centroids than the live codec, made for its like."""
    live = manifest.codec
    return live is not None and segment.codec != live.id and drifted(manifest, segment)
