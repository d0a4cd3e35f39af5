"""`weft evaluate`: quality, speed and size on a collection with judgements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from .options import EncoderName, Json, Threads
from .output import announce, err, out, print_json

if TYPE_CHECKING:
    from ...engine.evaluation.runs import Evaluation


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("evaluate")(evaluate)


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(help="A collection in the layout of BEIR or LoTTE.", show_default=False),
    ],
    bits: Annotated[
        list[int] | None,
        typer.Option(help="Residual bits; once per row wanted.", show_default="4 and 2"),
    ] = None,
    encoder: EncoderName = None,
    split: Annotated[str, typer.Option(help="Judgements of a BEIR folder.")] = "test",
    questions: Annotated[
        str, typer.Option(help="Questions of a LoTTE folder: search or forum.")
    ] = "search",
    cache: Annotated[
        Path | None,
        typer.Option(help="Keep the embeddings here for the next run.", show_default=False),
    ] = None,
    nprobe: Annotated[
        int | None, typer.Option(help="For the index.", show_default="by effort")
    ] = None,
    ndocs: Annotated[
        int | None, typer.Option(help="For the index.", show_default="by effort")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown.")
    ] = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Measure retrieval quality beside BM25 and uncompressed vectors.

    Each system returns 100 documents per query. Times are of single queries, encoding excluded.
    """
    from ...engine.encoder import load_encoder
    from ...engine.evaluation import runs
    from ...engine.evaluation.collections import load_collection

    collection = load_collection(folder, split=split, questions=questions)
    with err.status("Loading the encoder…"):
        loaded = load_encoder(encoder, threads=threads)
    announce(loaded, quiet=as_json)
    parameters = {
        name: value for name, value in (("nprobe", nprobe), ("ndocs", ndocs)) if value is not None
    }
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=len(collection.documents))
        result = runs.evaluate(
            collection,
            loaded,
            bits=bits or (4, 2),
            cache=cache,
            threads=threads,
            parameters=parameters,
            progress=lambda done, _: bar.update(task, completed=done),
            stage=lambda name: bar.update(task, description=name),
        )
    _show(result, as_json, markdown)


def _show(result: Evaluation, as_json: bool, markdown: bool) -> None:
    from ...engine.evaluation import report

    if as_json:
        print_json(result.to_json())
        return
    if markdown:
        print(report.markdown(result))
        return
    table = Table(title=report.title(result), title_justify="left", box=None, pad_edge=False)
    for number, heading in enumerate(report.HEADINGS):
        table.add_column(heading, justify="right" if number else "left")
    for row in result.rows:
        table.add_row(*report.cells(row))
    out.print(table)
