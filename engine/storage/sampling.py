"""The sample that a codec is trained on: passages drawn at random, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..codec import sample_passages
from ..codec.training import SAMPLE_BYTES
from .merge import read_embeddings
from .segment import SegmentView

READ_PASSAGES: Final = 4096
"""Passages that are read at a time."""

ROWS_DRAWN_FROM: Final = 4
"""Embeddings of the drawn passages for each that the sample takes: those of one passage are alike.
With 1, 10,000 passages lose .006 of recall@10 and .016 of recall@100, whatever the held-out
embeddings say, which lie in the same passages."""

I64 = NDArray[np.int64]


def training_sample(
    views: Sequence[SegmentView], *, max_rows: int | None = None, seed: int = 0
) -> NDArray[np.float16]:
    """Embeddings drawn from randomly drawn alive passages, of coded segments as they are rebuilt.

    Args:
        views: segments with alive passages among them.
        max_rows: embeddings that are wanted at most; at least 1.
        seed: equal seeds draw equal embeddings.

    Returns:
        float16 [n, dim], as float32 at most `SAMPLE_BYTES`.

    Raises:
        CorruptIndexError: a segment is damaged.
    """
    random = np.random.default_rng(seed)
    pids = [np.arange(v.n_passages) if v.alive is None else np.flatnonzero(v.alive) for v in views]
    doclens = np.concatenate([v.doclens[p] for v, p in zip(views, pids, strict=True)])
    limit = max(1, SAMPLE_BYTES // (4 * views[0].dim))
    limit = limit if max_rows is None else min(limit, max_rows)
    chosen = _choose(doclens, sample_passages(len(doclens)), ROWS_DRAWN_FROM * limit, random)
    ends = np.cumsum(doclens[chosen], dtype=np.int64)
    rows = _draw(int(ends[-1]), limit, random)
    sample = np.empty((len(rows), views[0].dim), dtype=np.float16)
    firsts = np.cumsum([0, *(len(part) for part in pids)])
    places = np.searchsorted(chosen, firsts)
    for view, part, first, start, end in zip(views, pids, firsts, places, places[1:], strict=False):
        _read(view, part[chosen[start:end] - first], rows, sample, ends[start:end])
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


def _draw(n_rows: int, at_most: int, random: np.random.Generator) -> I64:
    """Sorted numbers of rows drawn without replacement; of all where they are few enough."""
    if n_rows <= at_most:
        return np.arange(n_rows)
    drawn: I64 = np.sort(random.choice(n_rows, size=at_most, replace=False))
    return drawn


def _read(view: SegmentView, pids: I64, rows: I64, sample: NDArray[np.float16], ends: I64) -> None:
    """Read drawn embeddings of drawn passages of a segment to where they stand in the sample.

    Args:
        pids: drawn passages.
        rows: of the sample, their numbers among the rows of all drawn passages.
        ends: of each of these passages' rows among those.
    """
    for part in range(0, len(pids), READ_PASSAGES):
        some, bounds = pids[part : part + READ_PASSAGES], ends[part : part + READ_PASSAGES]
        starts = bounds - view.doclens[some]
        filled, last = np.searchsorted(rows, [starts[0], bounds[-1]]).tolist()
        drawn = rows[filled:last]
        homes = np.searchsorted(bounds, drawn, side="right")
        tokens = drawn - starts[homes] + view.offsets[some[homes]]
        for read in read_embeddings(view, some, tokens) if len(tokens) else ():
            sample[filled : filled + len(read)] = read
            filled += len(read)
