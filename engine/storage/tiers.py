"""Which segments are merged by and by, so that there are few and each row is seldom rewritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .segment import SegmentView
from .targets import Target

FANOUT: Final = 8
"""Segments of a tier that are merged into one of the next; a tier's are `FANOUT` times larger
than those of the tier before, so that a row is rewritten once per tier: logarithmically often."""

MAX_DEAD_SHARE: Final = 0.25
"""Share of dead embeddings from which a segment is rewritten: space is at most a third more than
what is alive, and a rewriting is paid by a third as many deletions."""


def due_for_merging(
    views: Sequence[SegmentView], targets: Mapping[str, Target], *, max_passages: int
) -> list[SegmentView]:
    """Neighbouring segments that are to become one.

    A run is merged once it holds `FANOUT` segments of a tier; smaller ones between them are taken
    along, so that they are never left behind between large ones.

    Args:
        views: in the order of the index.
        targets: by id; only segments of one group become one.
        max_passages: alive ones of a merged segment.

    Returns:
        A run of the lowest tier that has one, cut to what fits; nothing if there is none.
    """
    tiers = {view.id: tier(view.n_alive_passages) for view in views}
    for height in sorted(set(tiers.values())):
        for run in _runs(views, targets, tiers, height, max_passages):
            fitting = _cut(run, max_passages)
            if sum(tiers[view.id] == height for view in run) >= FANOUT and len(fitting) > 1:
                return fitting
    return []


def tier(n_passages: int) -> int:
    """floor(log_FANOUT(n)), and 0 for none."""
    height = 0
    while n_passages >= FANOUT:
        n_passages //= FANOUT
        height += 1
    return height


def _runs(
    views: Sequence[SegmentView],
    targets: Mapping[str, Target],
    tiers: Mapping[str, int],
    height: int,
    max_passages: int,
) -> Iterator[list[SegmentView]]:
    """Neighbours of one group, none above a tier, and none that is as large as may be."""
    run: list[SegmentView] = []
    for view in views:
        small = tiers[view.id] <= height and 2 * view.n_alive_passages <= max_passages
        alike = run and targets[run[0].id].group == targets[view.id].group
        if run and not (small and alike):
            yield run
            run = []
        if small:
            run.append(view)
    if run:
        yield run


def _cut(run: list[SegmentView], max_passages: int) -> list[SegmentView]:
    """The first segments of a run that fit into one."""
    filled = 0
    for count, view in enumerate(run):
        filled += view.n_alive_passages
        if filled > max_passages:
            return run[:count]
    return run


def due_for_rewriting(views: Sequence[SegmentView]) -> list[SegmentView]:
    """The first segment of which too many embeddings are dead, alone; nothing if there is none."""
    for view in views:
        if view.n_tokens - view.n_alive_tokens > MAX_DEAD_SHARE * view.n_tokens:
            return [view]
    return []
