"""`weft import-colbert`: an index of another package becomes one of Weft."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from .options import DEFAULT_INDEX, EncoderName, IndexPath, Json, Threads
from .output import err, out, print_json

if TYPE_CHECKING:
    from ...engine.importing import ImportReport

Source = Annotated[
    Path,
    typer.Argument(
        help="Folder of an index of colbert-ai, RAGatouille or fast-plaid, with metadata.json.",
        show_default=False,
    ),
]
Collection = Annotated[
    Path | None,
    typer.Option(
        help="Texts in the order of the passages: .tsv (id, text, title) or .jsonl.",
        show_default="RAGatouille's, or what the index names",
    ),
]
WithoutEncoder = Annotated[
    bool,
    typer.Option("--no-encoder", help="Record no encoder: the index is searched with vectors."),
]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("import-colbert")(import_colbert)


def import_colbert(
    source: Source,
    index: IndexPath = DEFAULT_INDEX,
    collection: Collection = None,
    encoder: EncoderName = None,
    no_encoder: WithoutEncoder = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Take over an index of colbert-ai, RAGatouille or fast-plaid without encoding again."""
    from ...engine.errors import InvalidParameterError
    from ...engine.importing import import_colbert as convert

    if no_encoder and encoder is not None:
        raise InvalidParameterError("--encoder and --no-encoder exclude each other: leave one out.")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("passages", total=None)
        report = convert(
            source,
            index,
            collection=collection,
            encoder=False if no_encoder else encoder,
            threads=threads,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(_to_json(report))
        return
    _show(report, index)


def _to_json(report: ImportReport) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(report)


def _show(report: ImportReport, index: Path) -> None:
    out.print(
        f"{report.n_documents:,} documents, {report.n_passages:,} passages, {report.n_tokens:,} "
        f"embeddings of {report.kind} at {report.bits} bits are in {index}.",
        soft_wrap=True,
    )
    if report.n_removed:
        out.print(f"{report.n_removed:,} passages had been removed and were left out.")
    if not report.texts:
        out.print("No texts were found: ids are the passages' numbers. --collection names a file.")
    if report.encoder is None:
        out.print("No encoder is recorded: search it with vectors, or open it with an encoder.")
