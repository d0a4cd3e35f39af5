"""Drift: how much worse a codec serves what is added than what it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from .manifest import MAX_PREFIXES, CodecRef, Manifest, SegmentRef

DRIFT_BOUND: Final = 0.15
"""Fall of the mean cosine to the centroids at which a segment has drifted.

Measured with MiniLM's vectors (384 dimensions, and 128 by PCA), codecs of 4,096 and 8,192
centroids trained on half of SciFact and of Cranfield. Other documents of the same collection fell
by 0.03 to 0.06 in the mean, and by at most 0.13 in segments of 5 documents and 0.09 of 20;
documents of other collections (also CISI and Vaswani) by 0.24 to 0.44 in the mean, and at least by
0.17 of 5 documents and 0.22 of 100.
"""

HOLD_BOUND: Final = 0.05
"""Fall of a batch's mean cosine to the centroids from which it is held, see `holding`.

Below `DRIFT_BOUND`, since it costs nothing of what is kept: the batch is compressed later, not
twice. A topic that shifts within a collection stays below the other bound for long. Measured by
`benchmarks/ingestion/age.py` with 10,000 passages (MiniLM, 128 dimensions, 4 bits): compressing
them as they come and retraining at eightfold growth had recall@10 up to .024 below a full rebuild,
retraining at fourfold growth .017, a `DRIFT_BOUND` of .05 .028, since each of them compresses
twice; holding from a fall of .05 on .0085, for 24 % of the CPU time that the rebuilds took.
"""

HELD_TOKENS: Final = 1 << 16
"""Embeddings that are held at most: a search scores them all, in 7 ms on one thread."""

OVERSIZE: Final = 2.0
"""Up to this multiple of 16 * sqrt(n) centroids are appended as what has drifted can make use of;
beyond it as many as keep the multiple while n grows. What is appended must make up for those that
were trained on the past and hold little any more. Of the same measurement: with 1.5 up to .0175
below a rebuild, for 20 % of the time."""

HELD_SECONDS: Final = 600.0
"""How long a segment is held while too little is for centroids to be appended: after that it is
compressed with those that there are, so that searches need not read it whole for ever."""

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


def is_held(manifest: Manifest, segment: SegmentRef) -> bool:
    """Whether a flat segment waits for centroids to be appended to the live codec."""
    return manifest.codec is not None and segment.unserved_by == manifest.codec.id


def may_append(manifest: Manifest) -> bool:
    """Whether centroids can still be appended to the live codec."""
    return manifest.codec is not None and len(manifest.codec.prefixes) < MAX_PREFIXES


def room(manifest: Manifest, n_tokens: int, n_drifted: int) -> int:
    """How many centroids may be appended to the live codec at once, at least 1 if any.

    Args:
        manifest: of an index.
        n_tokens: embeddings of the index, of which some have drifted.
        n_drifted: of those, for which centroids are to be appended.
    """
    live = manifest.codec
    if live is None or not may_append(manifest):
        return 0
    wanted = OVERSIZE * 16 * math.sqrt(n_tokens) - live.n_centroids
    # As the square root of n grows by what has drifted: half its share.
    kept = live.n_centroids * n_drifted / (2 * n_tokens)
    return max(1, round(max(wanted, kept)))


def supported_tokens(codec: CodecRef) -> float:
    """Embeddings for which a codec has centroids enough: those it was trained for, or more if
    centroids were appended since."""
    return max(float(codec.n_embeddings), (codec.n_centroids / 16) ** 2)
