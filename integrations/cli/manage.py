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
        "GPU": _gpu(here["cuda"]),
        "Python": here["python"],
        "machine": here["machine"],
    }
    out.print()
    out.print(key_values("Installation", rows))


def _gpu(cuda: Mapping[str, Any]) -> str:
    """Which device can serve, and why or why not."""
    if not cuda["usable"]:
        return f"none: {cuda['reason']}"
    return f"{cuda['reason']}; used where an index is opened with device='auto' or 'cuda'"


def show_stats(stats: Mapping[str, Any]) -> None:
    """Print counts, sizes part by part and the reconstruction error.

    Args:
        stats: the fields of `IndexStats`.
    """
    out.print(key_values("Index", _counts(stats)))
    out.print()
    parts = sorted(stats["size_bytes"].items(), key=lambda part: -part[1])
    sizes = {name.replace("_", " "): size(n) for name, n in parts}
    sizes["total"] = size(sum(stats["size_bytes"].values()))
    sizes["awaiting collection"] = size(stats["reclaimable_bytes"])
    sizes["per token, without text"] = f"{stats['bytes_per_token']:.1f} B"
    out.print(key_values("On disk", sizes, numbers=True))


def _counts(stats: Mapping[str, Any]) -> dict[str, str]:
    rows = {
        "documents": f"{stats['n_documents']:,}",
        "passages": f"{stats['n_passages']:,}",
        "tokens": f"{stats['n_tokens']:,}",
        "deleted, until compact": f"{stats['n_deleted_documents']:,}",
        "segments": f"{stats['n_segments']:,}, {stats['n_flat_segments']:,} of them flat",
        "generation": str(stats["generation"]),
        "encoder": f"{stats['encoder'] or 'none: ready-made embeddings'}, dim {stats['dim']}",
    }
    codec = stats["codec"]
    if codec is None:
        rows["codec"] = "none yet: searched exactly"
    else:
        rows["codec"] = f"{codec['n_centroids']:,} centroids, {codec['bits']} bits"
        rows |= {f"epoch {e['epoch']}": _epoch(e) for e in stats["epochs"]}
        rows["reconstruction"] = (
            f"mean cosine {codec['mean_cosine']:.4f}, "
            f"mean squared error {codec['mean_squared_error']:.4f}"
        )
    return rows


def _epoch(epoch: Mapping[str, Any]) -> str:
    """One training of the codec, in a line."""
    appended = f", {epoch['n_appends']} times appended" if epoch["n_appends"] else ""
    return (
        f"{epoch['n_centroids']:,} centroids{appended}, {epoch['n_segments']:,} segments, "
        f"{epoch['n_drifted_segments']:,} of them drifted, worst drift {epoch['worst_drift']:.3f}"
        f"{_far(epoch)}{_skew(epoch)}"
    )


def _far(epoch: Mapping[str, Any]) -> str:
    if epoch["far_share"] is None:
        return ""
    return f", {epoch['far_share']:.1%} of embeddings far (worst {epoch['worst_far_share']:.1%})"


def _skew(epoch: Mapping[str, Any]) -> str:
    if epoch["skew"] is None or epoch["trained_skew"] is None:
        return ""
    return f", skew {epoch['skew']:.2f} (trained {epoch['trained_skew']:.2f})"
