"""Recall against time per query, as SVG, where matplotlib is there to draw it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .catalogue import DEPTHS
from .summary import Row, Summary


def draw(summaries: Sequence[Summary], path: Path) -> bool:
    """Write the plot: a row per collection, a column per k.

    Returns:
        Whether it was drawn; False without matplotlib.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "weft"
    from matplotlib import pyplot

    size = (6 * len(DEPTHS), 4 * len(summaries))
    figure, axes = pyplot.subplots(len(summaries), len(DEPTHS), figsize=size, squeeze=False)
    for summary, line in zip(summaries, axes, strict=True):
        for k, axis in zip(DEPTHS, line, strict=True):
            _panel(axis, summary, k)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.5 / size[1], 1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def _panel(axis: Any, summary: Summary, k: int) -> None:
    by_engine: dict[str, list[Row]] = {}
    for row in summary.at(k):
        by_engine.setdefault(row.case.variant.title, []).append(row)
    for title, rows in by_engine.items():
        rows.sort(key=lambda row: row.p50.median)
        times = [row.p50.median for row in rows]
        below = [row.p50.median - row.p50.low for row in rows]
        above = [row.p50.high - row.p50.median for row in rows]
        style = "o-" if rows[0].case.variant.is_weft else "s--"
        found = [row.recall for row in rows]
        axis.errorbar(times, found, xerr=(below, above), fmt=style, label=title, markersize=4)
    axis.set_xscale("log")
    axis.set_xlabel("ms per query, one thread (p50)")
    axis.set_ylabel(f"recall@{k}")
    axis.set_title(f"{summary.data.title}, k = {k}", fontsize=10)
    axis.grid(alpha=0.3)
