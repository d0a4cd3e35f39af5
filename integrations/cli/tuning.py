"""`weft tune`: the cheapest parameters that reach a recall on an index's own queries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .options import DEFAULT_INDEX, EncoderName, IndexFolder, IndexPath, Json, Threads
from .output import announce, err, note, out, print_json, warn

if TYPE_CHECKING:
    from ...engine.tuning import Trial, Tuning
    from ...engine.view import Query


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("tune")(tune)


def tune(
    path: IndexFolder = None,
    index: IndexPath = DEFAULT_INDEX,
    queries: Annotated[
        Path | None,
        typer.Option(
            help='Your queries: a text file with one per line, JSON lines with "text", or an '
            ".npy array [queries, vectors, dim].",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(help="Make so many of the index's passages instead.", show_default="200"),
    ] = None,
    recall: Annotated[
        float, typer.Option(help="Share of the exact best passages that must be found.")
    ] = 0.95,
    k: Annotated[int, typer.Option("-k", "--k", help="Passages wanted, 1 to 1,000.")] = 10,
    seconds: Annotated[float, typer.Option(help="Time that measuring may take.")] = 60,
    encoder: EncoderName = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Find the cheapest search parameters that reach a recall; ends with code 1 if none does."""
    from ...engine.index import Index

    given = None if queries is None else _read(queries)
    with Index.open(path or index, encoder=encoder, threads=threads) as opened:
        with err.status("Measuring…"):
            result = opened.tune(given, recall=recall, k=k, sample=sample, seconds=seconds)
        if given is not None and isinstance(given[0], str):
            announce(opened.encoder, quiet=as_json)
    if as_json:
        print_json(to_json(result))
    else:
        _show(result)
    if not result.reached:
        raise typer.Exit(1)


def _read(path: Path) -> list[Query]:
    """The queries of a file, one at least.

    Raises:
        InvalidInputError: the file cannot be read, or holds no query.
    """
    from ...engine.errors import InvalidInputError

    found = _vectors(path) if path.suffix == ".npy" else _texts(path)
    if not found:
        raise InvalidInputError(f"{path} holds no query: put one on each line.")
    return found


def _texts(path: Path) -> list[Query]:
    from ...engine.errors import InvalidInputError
    from ...engine.evaluation.lines import json_object, numbered_lines

    found: list[Query] = []
    for number, line in numbered_lines(path):
        if ".jsonl" not in path.suffixes:
            found.append(line.strip())
            continue
        where = f"{path}, line {number}"
        text = json_object(line, where).get("text")
        if not isinstance(text, str):
            raise InvalidInputError(f'{where}: its "text" is no string: put the query there.')
        found.append(text)
    return found


def _vectors(path: Path) -> list[Query]:
    import numpy as np

    from ...engine.errors import InvalidInputError

    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInputError(f"{path} cannot be read as an .npy array: {error}.") from error
    if array.ndim != 3:
        raise InvalidInputError(
            f"{path} has shape {array.shape}: it must be [queries, vectors, dim]."
        )
    return list(array)


def to_json(result: Tuning) -> dict[str, Any]:
    """A tuning as JSON values, with the call to copy."""
    return {**asdict(result), "call": result.call}


def _show(result: Tuning) -> None:
    """Print the table, the call, and what to know about them."""
    made = "made of the index's passages" if result.sampled else "of your own"
    table = Table(
        title=f"Recall of the best {result.k:,} on {result.n_queries:,} queries {made}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("nprobe", "ndocs", "n_rescored", "recall", "±", "ms"):
        table.add_column(heading, justify="right")
    table.add_column("")
    rows = {*result.front, result.chosen, result.default}
    for trial in sorted(rows, key=lambda trial: trial.milliseconds):
        table.add_row(*_cells(trial), _mark(trial, result))
    out.print(table)
    note(
        f"{result.n_tried:,} settings tried; scoring every passage takes "
        f"{result.exact_milliseconds:,.1f} ms"
    )
    out.print(result.call, markup=False, soft_wrap=True)
    for sentence in result.notes:
        warn(sentence)


def _cells(trial: Trial) -> list[str]:
    whole = (trial.nprobe, trial.ndocs, trial.n_rescored)
    shares = (trial.recall, trial.recall_error)
    numbers = [f"{value:,}" for value in whole] + [f"{share:.4f}" for share in shares]
    return [*numbers, f"{trial.milliseconds:.2f}"]


def _mark(trial: Trial, result: Tuning) -> str:
    names = []
    if trial == result.chosen:
        names.append("[bold]chosen[/]" if result.reached else "[bold]best found[/]")
    if trial == result.default:
        names.append("[dim]default[/]")
    return ", ".join(names)
