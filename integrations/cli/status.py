"""`weft status`: the queue of an index, once or as it changes."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.table import Table

from .options import DEFAULT_INDEX, IndexPath, Json
from .output import duration, err, key_values, out, print_json

if TYPE_CHECKING:
    from ...workers import Overview


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("status")(status)


def status(
    index: IndexPath = DEFAULT_INDEX,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl+C.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds between two looks.")
    ] = 0.5,
    as_json: Json = False,
) -> None:
    """Show what waits to be indexed, who works on it, and how fast."""
    from ...workers import Watcher

    watcher = Watcher(index)
    overview = watcher.look()
    if not watch:
        if as_json:
            print_json(asdict(overview))
        else:
            out.print(_table(overview))
        return
    if as_json:
        raise typer.BadParameter("--json shows one look: leave out --watch.")
    with Live(_table(overview), console=err, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                live.update(_table(watcher.look()), refresh=True)
        except KeyboardInterrupt:
            return


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%} of embeddings, 5 % in training"


def _table(overview: Overview) -> Table:
    age, lag = overview.oldest_seconds, overview.lag_seconds
    rate, drift = overview.changes_per_second, overview.drift
    dead = f"{overview.n_dead:,}" + (", so that workers have halted" if overview.halted else "")
    unknown = "known with --watch"
    rows = {
        "waiting": f"{overview.n_waiting:,} submissions, {overview.n_operations:,} operations",
        "oldest": "none" if age is None else duration(age),
        "encoding": f"{overview.n_encoding:,} submissions",
        "workers": f"{overview.n_workers:,}",
        "dead letters": dead,
        "documents": f"{overview.n_documents:,} in {overview.n_segments:,} segments",
        "generation": f"{overview.generation:,}",
        "changes per second": unknown if rate is None else f"{rate:,.1f}",
        "submit to searchable": unknown if lag is None else duration(lag),
        "drift": "no codec yet" if drift is None else f"{drift:.0%} of the bound",
        "far from centroids": _share(overview.far_share),
        "skew of centroids": "not known" if overview.skew is None else f"{overview.skew:.2f}",
    }
    return key_values("Queue", rows)
