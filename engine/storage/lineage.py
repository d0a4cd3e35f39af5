"""The lineage of codecs: training the first, appending centroids, training the next epoch.

Each of these writes a codec that no segment needs yet and commits it; the manifest's fence
picks one if two race. Segments follow one by one, see `conversion`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..codec import Codec, TrainingReport, append_centroids, sample_rows, train_codec
from ..codec.service import far_share
from . import drift
from .codec_store import write_appended, write_codec
from .drift import FINE_BITS, HELD_TOKENS, drifted, is_held
from .encoding import Encode, encoded_sample
from .manifest import MAX_EPOCHS, CodecRef, Manifest
from .reader import Snapshot
from .replacement import Replacement, needed_codecs
from .sampling import training_sample
from .segment import SegmentView
from .segment_writer import LiveCodec

GROWTH: Final = 8
"""Growth at which a codec is followed by the next epoch: embeddings of the index, as a multiple of
those that it has centroids for. While centroids are appended it does not come to that, and
should not: all that is converted is compressed a second time."""

GROWTH_WHEN_DRIFTED: Final = 2
"""The same where centroids keep drifting and no more can be appended: retraining costs as much
as all growth since the last one, so that it must not follow each small change."""

DRIFTED_SHARE: Final = 0.05
"""Drifted and held embeddings, of all in the index, from which centroids are appended; no more
than `HELD_TOKENS` are waited for. With fewer, each small batch would use up one of the times
that centroids are appended."""


def is_large_enough(base: Snapshot) -> bool:
    """Whether an index without a codec has grown enough for one."""
    return base.n_tokens >= max(1, base.manifest.settings.flat_below_tokens)


def train(work: Replacement, *, seed: int) -> tuple[LiveCodec, TrainingReport]:
    """Write the first codec of an index of flat segments.

    Args:
        work: takes the codec; its base has alive passages.
        seed: of the sample and the training.
    """
    return _train(work, _sample(work.base, seed), epoch=1, seed=seed)


def retrain(work: Replacement, encode: Encode | None, *, seed: int) -> LiveCodec:
    """Write the codec of the next epoch, which stands beside the live one until all is converted.

    Args:
        work: takes the codec; its base has one codec and alive passages.
        encode: for indexes of 1 and 2 bits, whose embeddings are no measure any more.
        seed: of the sample and the training.

    Raises:
        NotFromTextError: embeddings of the sample were not made from text.
    """
    live = work.base.manifest.codecs[-1]
    if live.bits >= FINE_BITS or encode is None:
        sample = _sample(work.base, seed)
    else:
        sample = encoded_sample(_alive(work.base), encode, seed=seed)
    return _train(work, sample, epoch=live.epoch + 1, seed=seed)[0]


def _sample(base: Snapshot, seed: int) -> NDArray[np.float16]:
    """As many embeddings as a codec of the whole index is trained on."""
    return training_sample(_alive(base), max_rows=sample_rows(base.n_tokens), seed=seed)


def _train(
    work: Replacement, sample: NDArray[np.float16], *, epoch: int, seed: int
) -> tuple[LiveCodec, TrainingReport]:
    base, writer = work.base, work.writer
    codec, training = train_codec(
        sample,
        n_embeddings=base.n_tokens,
        bits=base.manifest.settings.bits,
        seed=seed,
        threads=writer.threads,
        device=writer.device,
    )
    ref = write_codec(writer.directory, codec, training, n_embeddings=base.n_tokens, epoch=epoch)
    work.put_codecs((*base.manifest.codecs, ref))
    return LiveCodec(ref.id, codec, far_cosine=ref.far_cosine), training


def append(work: Replacement, *, seed: int) -> str:
    """Write the live codec with more centroids, for what has drifted.

    From then on drift is measured against what the longer codec reaches on it, so that
    embeddings which more centroids do not serve better are not tried again and again.

    Args:
        work: takes the codec; centroids can be appended to that of its base.
        seed: of the sample and of k-means.

    Returns:
        What was done, in words; "" if more centroids would not help.
    """
    base = work.base
    *older, live = base.manifest.codecs
    views = [view for view in drifted_views(base) if view.n_alive_tokens]
    n_drifted = sum(view.n_alive_tokens for view in views)
    present = base.codecs[live.id]
    found = append_centroids(
        present,
        training_sample(views, seed=seed),
        n_embeddings=n_drifted,
        served=_served(live),
        at_most=drift.room(base.manifest, base.n_tokens, n_drifted),
        seed=seed,
        threads=work.writer.threads,
        device=work.writer.device,
    )
    if found is None:
        return ""
    longer, cosines = found
    cosine = float(cosines.mean(dtype=np.float64))
    ref = write_appended(
        work.writer.directory,
        longer,
        live,
        centroid_cosine=min(live.centroid_cosine, cosine),
        far_share=_far_share(live, cosines),
    )
    work.put_codecs((*older, ref))
    return _appended(present, longer, cosine)


def _far_share(live: CodecRef, cosines: NDArray[np.float32]) -> float | None:
    """The share of far embeddings that is no drift: what it was, or what is left with more
    centroids."""
    if live.far_cosine is None or live.far_share is None:
        return None
    return max(live.far_share, far_share(cosines, live.far_cosine))


def _appended(shorter: Codec, longer: Codec, cosine: float) -> str:
    return (
        f"{longer.n_centroids - shorter.n_centroids:,} centroids behind {shorter.n_centroids:,}; "
        f"drifted embeddings now have a mean cosine of {cosine:.3f} to theirs"
    )


def _served(live: CodecRef) -> float:
    """Cosine with its centroid from which an embedding of what drifted is served well.

    Rebuilt from 1 or 2 bits all lie about as far from their centroids, however far they came
    from: where a segment has drifted, all that is in it counts.
    """
    return live.centroid_cosine if live.bits >= FINE_BITS else math.inf


def drifted_views(base: Snapshot) -> list[SegmentView]:
    """Segments that the live codec was made too early for: held, or nevertheless made with it."""
    manifest = base.manifest
    if manifest.codec is None:
        return []
    live = manifest.codec.id
    return [
        view
        for view in base.segments
        if is_held(manifest, view.files.ref)
        or (view.codec_id == live and drifted(manifest, view.files.ref))
    ]


def has_drifted(base: Snapshot) -> bool:
    """Whether enough embeddings have drifted for the codec to be changed."""
    n_tokens = sum(view.n_alive_tokens for view in drifted_views(base))
    return n_tokens >= max(1.0, min(DRIFTED_SHARE * base.n_tokens, HELD_TOKENS))


def retraining_reason(base: Snapshot) -> str:
    """Why the index needs another epoch; "" if it does not."""
    live = base.manifest.codec
    if live is None:
        return ""
    growth = base.n_tokens / drift.supported_tokens(live)
    if growth >= GROWTH:
        return f"{growth:.1f} times as many embeddings as the codec has centroids for"
    if growth >= GROWTH_WHEN_DRIFTED and has_drifted(base) and not drift.may_append(base.manifest):
        return (
            f"embeddings keep drifting, no more centroids can be appended, and there are "
            f"{growth:.1f} times as many as the codec has centroids for"
        )
    return ""


def can_begin_epoch(manifest: Manifest) -> bool:
    """Whether there is room for another codec beside the live one."""
    return len(needed_codecs(manifest.codecs, manifest.segments)) < MAX_EPOCHS


def _alive(base: Snapshot) -> list[SegmentView]:
    return [view for view in base.segments if view.n_alive_tokens]
