"""The sample that a codec is trained on: passages drawn at random, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..codec import sample_passages
from ..codec.training import SAMPLE_BYTES
from .merge import read_embeddings
from .segment import SegmentView

READ_PASSAGES: Final = 4096
"""Passages that are read at a time."""

I64 = NDArray[np.int64]


def training_sample(views: Sequence[SegmentView], *, seed: int = 0) -> NDArray[np.float32]:
    """Embeddings of randomly drawn alive passages, of coded segments as they are rebuilt.

    Args:
        views: segments with alive passages among them.
        seed: equal seeds draw equal passages.

    Returns:
        float32 [n, dim], at most `SAMPLE_BYTES`.

    Raises:
        CorruptIndexError: a segment is damaged.
    """
    pids = [np.arange(v.n_passages) if v.alive is None else np.flatnonzero(v.alive) for v in views]
    doclens = np.concatenate([v.doclens[p] for v, p in zip(views, pids, strict=True)])
    row_bytes = 4 * views[0].dim
    wanted = sample_passages(len(doclens), passage_bytes=float(doclens.mean()) * row_bytes)
    chosen = _choose(doclens, wanted, SAMPLE_BYTES // row_bytes, np.random.default_rng(seed))
    firsts = np.cumsum([0, *(len(part) for part in pids)])
    sample = np.empty((int(doclens[chosen].sum(dtype=np.int64)), views[0].dim), dtype=np.float32)
    filled = 0
    for view, part, first in zip(views, pids, firsts, strict=False):
        inside = chosen[(chosen >= first) & (chosen < first + len(part))] - first
        filled = _read(view, part[inside], sample, filled)
    return sample


def _choose(
    doclens: NDArray[np.uint32], wanted: int, max_rows: int, random: np.random.Generator
) -> I64:
    """Sorted positions of passages drawn without replacement that have at most `max_rows` rows."""
    drawn = random.choice(len(doclens), size=wanted, replace=False)
    rows = np.cumsum(doclens[drawn], dtype=np.int64)
    fitting = max(1, int(np.searchsorted(rows, max_rows, side="right")))
    chosen: I64 = np.sort(drawn[:fitting]).astype(np.int64)
    return chosen


def _read(view: SegmentView, pids: I64, sample: NDArray[Any], filled: int) -> int:
    """Read the embeddings of passages into the sample, from row `filled` on."""
    for start in range(0, len(pids), READ_PASSAGES):
        for rows in read_embeddings(view, pids[start : start + READ_PASSAGES]):
            sample[filled : filled + len(rows)] = rows
            filled += len(rows)
    return filled
