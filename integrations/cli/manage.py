"""`weft delete`, `weft compact` and `weft info`: looking after an index."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from .options import DEFAULT_INDEX, IndexPath, Json, Threads
from .output import duration, err, key_values, out, print_json, size, warn


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("delete")(delete)
    app.command("compact")(compact)
    app.command("info")(info)


def delete(
    ids: Annotated[list[str], typer.Argument(help="Document ids.", show_default=False)],
    index: IndexPath = DEFAULT_INDEX,
    as_json: Json = False,
) -> None:
    """Remove documents; they are gone from results at once."""
    from ...engine.index import Index

    with Index.open(index) as opened:
        result = opened.delete(ids)
    if as_json:
        print_json(asdict(result))
        return
    if result.missing:
        warn(f"Not in the index: {', '.join(result.missing)}")
    out.print(f"[bold]{len(result.deleted):,}[/] documents deleted")


def compact(index: IndexPath = DEFAULT_INDEX, threads: Threads = 0, as_json: Json = False) -> None:
    """Merge segments, drop what was deleted, and compress a grown index."""
    from ...engine.index import Index

    started = time.perf_counter()
    with Index.open(index, threads=threads) as opened:
        with err.status("Merging and compressing…"):
            report = opened.compact()
        stats = opened.stats()
    seconds = time.perf_counter() - started
    if as_json:
        print_json({**asdict(report), "seconds": round(seconds, 3)})
        return
    out.print(
        f"{stats.n_passages:,} passages in {stats.n_segments} segments, generation "
        f"{stats.generation}, in {duration(seconds)}"
    )


def info(index: IndexPath = DEFAULT_INDEX, as_json: Json = False) -> None:
    """Show what an index holds, what it takes, and what this installation can do."""
    from ...engine.index import Index
    from ...engine.info import info as installation

    with Index.open(index) as opened:
        stats = asdict(opened.stats())
    here = installation()
    if as_json:
        print_json({"index": str(index), "stats": stats, "installation": here})
        return
    show_stats(stats)
    kernels = here["kernels"]
    rows = {
        "Weft": here["weft"],
        "kernels": f"{kernels['target']} of {', '.join(kernels['targets'])}",
        "Python": here["python"],
        "machine": here["machine"],
    }
    out.print()
    out.print(key_values("Installation", rows))


def show_stats(stats: Mapping[str, Any]) -> None:
    """Print counts, sizes part by part and the reconstruction error."""
    raise NotImplementedError(size(0))
