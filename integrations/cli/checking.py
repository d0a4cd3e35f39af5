"""`weft check`: whether every byte of an index is what was written, and the repair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from .options import DEFAULT_INDEX, IndexFolder, IndexPath, Json
from .output import err, note, out, print_json, printable, size, warn

if TYPE_CHECKING:
    from ...engine.check import CheckReport, Damage, RepairReport

SHOWN_PLACES: Final = 20
"""Damaged places that are printed; all are in the JSON."""

SHOWN_IDS: Final = 20
"""Lost documents that are printed; all are in the JSON."""


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("check")(check)


def check(
    path: IndexFolder = None,
    index: IndexPath = DEFAULT_INDEX,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Drop damaged segments, and name the documents lost with them."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify every byte of an index; ends with code 1 where something is damaged."""
    from ...engine import check as engine

    folder = path or index
    with err.status("Reading every byte…"):
        repaired = engine.repair(folder) if repair else None
        report = engine.check(folder) if repaired is None else repaired.check
        after = engine.check(folder) if repaired is not None and repaired.repaired else report
    if as_json:
        print_json(_json(report, repaired, after))
    else:
        _show(report, repaired, after)
    if not after.ok:
        raise typer.Exit(1)


def _json(report: CheckReport, repaired: RepairReport | None, after: CheckReport) -> dict[str, Any]:
    found = {"ok": after.ok, **asdict(report), "n_lost": report.n_lost}
    if repaired is not None:
        fields = asdict(repaired)
        del fields["check"]
        found["repair"] = fields
    return found


def _show(report: CheckReport, repaired: RepairReport | None, after: CheckReport) -> None:
    for text in report.notes:
        note(text)
    if report.ok:
        out.print(
            f"[green]Nothing is damaged[/]: {report.n_files:,} files, "
            f"{size(report.checked_bytes)}, generation {report.generation}"
        )
        return
    _show_damage(report.damage)
    _show_lost(report, gone=repaired is not None)
    if repaired is not None:
        _show_repair(repaired, after)
    else:
        note("Restore the index from a copy, or drop what is damaged: weft check --repair.")


def _show_damage(damage: Sequence[Damage]) -> None:
    out.print(f"[bold red]{len(damage):,} damaged places[/]")
    for found in damage[:SHOWN_PLACES]:
        where = found.file if found.offset is None else f"{found.file} at byte {found.offset:,}"
        if found.offset is not None and found.size_bytes:
            where += f", {size(found.size_bytes)}"
        text = escape(printable(f"{where}: {found.problem}"))
        out.print(f"  {text}\n    [dim]loses {escape(found.loses)}[/]", soft_wrap=True)
    _more(len(damage) - SHOWN_PLACES)


def _show_lost(report: CheckReport, *, gone: bool) -> None:
    ids = [id for part in report.lost for id in part.ids]
    unnamed = sum(part.n_unnamed for part in report.lost)
    verb = "are lost" if gone else "would be dropped by a repair"
    if report.lost:
        out.print(f"[bold]{report.n_lost:,} documents {verb}[/]", soft_wrap=True)
        for id in ids[:SHOWN_IDS]:
            out.print(f"  {escape(printable(id))}", soft_wrap=True)
        _more(len(ids) - SHOWN_IDS)
    if unnamed:
        out.print(f"  {unnamed:,} of them cannot be named: no intact file holds their ids")
    if report.newest_generation > report.generation:
        warn(
            f"Generation {report.newest_generation} cannot be read: what was committed after "
            f"generation {report.generation} is lost."
        )
    if report.n_may_reappear:
        warn(
            f"Up to {report.n_may_reappear:,} deleted documents may be found again after a repair: "
            "delete them again."
        )


def _more(n: int) -> None:
    if n > 0:
        out.print(f"  … and {n:,} more: see --json")


def _show_repair(repaired: RepairReport, after: CheckReport) -> None:
    out.print(
        f"{len(repaired.dropped_segments):,} segments dropped, generation {repaired.generation}"
    )
    if after.ok:
        out.print("[green]The index is sound again[/]; add the lost documents from their source.")
    else:
        warn(f"{len(after.damage):,} places are damaged still: check again.")
