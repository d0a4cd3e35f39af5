"""`weft evaluate`: quality, speed and size on a collection with judgements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from .options import EncoderName, Json, Ndocs, Nprobe, Threads, given
from .output import announce, err, out, print_json

if TYPE_CHECKING:
    from ...engine.encoder.base import Encoder
    from ...engine.evaluation.collections import Collection
    from ...engine.evaluation.runs import Evaluation


Folder = Annotated[
    Path, typer.Argument(help="A collection in the layout of BEIR or LoTTE.", show_default=False)
]
Bits = Annotated[
    list[int] | None,
    typer.Option(help="Residual bits; once per row wanted.", show_default="4 and 2"),
]
Split = Annotated[str, typer.Option(help="Judgements of a BEIR folder.")]
Questions = Annotated[str, typer.Option(help="Questions of a LoTTE folder: search or forum.")]
Cache = Annotated[
    Path | None,
    typer.Option(help="Keep the embeddings here for the next run.", show_default=False),
]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("evaluate")(evaluate)


def evaluate(
    folder: Folder,
    bits: Bits = None,
    encoder: EncoderName = None,
    split: Split = "test",
    questions: Questions = "search",
    cache: Cache = None,
    nprobe: Nprobe = None,
    ndocs: Ndocs = None,
    markdown: AsMarkdown = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Measure retrieval quality beside BM25 and uncompressed vectors.

    Each system returns 100 documents per query. Times are of single queries, encoding excluded.
    """
    from ...engine.encoder import load_encoder
    from ...engine.evaluation.collections import load_collection

    collection = load_collection(folder, split=split, questions=questions)
    with err.status("Loading the encoder…"):
        loaded = load_encoder(encoder, threads=threads)
    announce(loaded, quiet=as_json)
    parameters = given(nprobe=nprobe, ndocs=ndocs)
    options = {"bits": bits or (4, 2), "cache": cache, "threads": threads}
    _show(_measured(collection, loaded, parameters=parameters, **options), as_json, markdown)


def _measured(collection: Collection, encoder: Encoder, **options: Any) -> Evaluation:
    from ...engine.evaluation import runs

    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=len(collection.documents))
        return runs.evaluate(
            collection,
            encoder,
            progress=lambda done, _: bar.update(task, completed=done),
            stage=lambda name: bar.update(task, description=name),
            **options,
        )


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
