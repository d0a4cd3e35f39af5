"""`weft maintain`: does what is due to an index."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .options import DEFAULT_INDEX, IndexPath, Json, Threads
from .output import duration, err, out, print_json, printable, warn


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("maintain")(maintain)


def maintain(
    index: IndexPath = DEFAULT_INDEX,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0, help="Begin no further step after so long."),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=0, help="Do so many steps at most.")
    ] = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Do what is due: train, convert, merge small segments, drop what was deleted, free space."""
    from ...engine.index import Index

    with Index.open(index, threads=threads) as opened, err.status("Looking after the index…"):
        report = opened.maintain(seconds=seconds, max_steps=max_steps)
    if as_json:
        print_json(asdict(report))
        return
    for step in report.steps:
        line = f"[bold]{step.name:9}[/] {duration(step.seconds):>9}  "
        out.print(line, end="")
        out.print(printable(step.reason), markup=False, soft_wrap=True)
    for reason in report.left:
        warn(f"Left: {reason}")
    if not report.steps:
        out.print(f"Nothing was due, generation {report.generation}")
