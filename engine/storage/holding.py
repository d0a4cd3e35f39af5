"""Which batches are held: kept whole until centroids have been appended for them.

A batch that the live codec serves badly would lose much, and once it is compressed, serving it
better means compressing a second time what the first one kept. So it waits as a flat segment,
searched exactly, until maintenance has appended centroids that were trained on it; then it is
compressed once, by a codec that knows its like. What is held is bounded, since every search
reads all of it, and waits for a bounded time; beyond both it is compressed as it is served.

Measured with `benchmarks/ingestion/age.py`: see `drift.HOLD_BOUND`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .batch import EncodedBatch
from .directory import Directory
from .drift import HELD_SECONDS, HELD_TOKENS, HOLD_BOUND, is_held, may_append
from .layout import CHECKSUMS_FILE, segment_file
from .manifest import Manifest
from .segment_writer import LiveCodec

PROBED_ROWS: Final = 2048
"""Embeddings of a batch that are compared with the centroids to tell how it is served."""


def unserved_by(
    manifest: Manifest, live: LiveCodec | None, batch: EncodedBatch, *, threads: int = 0
) -> str | None:
    """The id of the live codec, if a batch is to be held rather than compressed with it.

    Args:
        manifest: of the newest generation.
        live: its codec.
        batch: about to be staged.
        threads: 0 for all cores.
    """
    ref = manifest.codec
    if live is None or ref is None or not _may_be_held(manifest, batch.n_tokens):
        return None
    rows = batch.embeddings[:: -(-batch.n_tokens // PROBED_ROWS)]
    cosines = live.codec.centroid_cosines(rows, threads=threads)
    fall = ref.centroid_cosine - float(cosines.mean(dtype=np.float64))
    return ref.id if fall > HOLD_BOUND else None


def _may_be_held(manifest: Manifest, n_tokens: int) -> bool:
    """Whether there is room for a batch among what is held, and centroids can be appended."""
    held = sum(ref.n_tokens for ref in manifest.segments if is_held(manifest, ref))
    return held + n_tokens <= HELD_TOKENS and may_append(manifest)


def has_waited(directory: Directory, segment_id: str, now_seconds: float) -> bool:
    """Whether a segment has been held for too long, by the file server's clock."""
    try:
        made = directory.status(segment_file(segment_id, CHECKSUMS_FILE)).changed_seconds
    except FileNotFoundError:
        return False
    return now_seconds - made >= HELD_SECONDS
