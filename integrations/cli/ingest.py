"""`weft index` and `weft add`: from files to a searchable index."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .options import DEFAULT_INDEX, EncoderName, IndexPath, Json, Threads
from .output import announce, duration, err, out, print_json, warn

if TYPE_CHECKING:
    from ...engine.documents import Document
    from ...engine.index import Index
    from ..files import FileOptions, SourceFile
    from .sources import FileSource

BATCH_CHARACTERS: Final = 200_000
BATCH_DOCUMENTS: Final = 256
SHOWN_PROBLEMS: Final = 10

Paths = Annotated[
    list[Path],
    typer.Argument(help="Files, and folders of files.", show_default=False),
]
OptionalPaths = Annotated[
    list[Path] | None,
    typer.Argument(help="Files, and folders of files.", show_default=False),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="Read every file as text, markdown, html, pdf, jsonl, csv or tsv.",
        show_default="by suffix",
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Ids are paths relative to this folder.", show_default="the parent of each PATH"
    ),
]
IdField = Annotated[
    str | None,
    typer.Option(help="Field with the id, in JSON lines and tables.", show_default="id, _id"),
]
TextField = Annotated[
    list[str] | None,
    typer.Option(
        help="Field with the text; may be given several times.",
        show_default="text, content or body",
    ),
]
TitleField = Annotated[str, typer.Option(help="Field put before the text.")]
NumberField = Annotated[
    list[str] | None,
    typer.Option(help="Column of a table to store as numbers.", show_default=False),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first unreadable file or record.")
]


@dataclass
class Summary:
    """What an ingestion did.

    Args:
        deleted: pages and records that a file read again has no more.
        skipped: why files and records were left out.
    """

    index: str
    documents: int = 0
    passages: int = 0
    replaced: int = 0
    deleted: int = 0
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("index")(index_files)
    app.command("add")(add_files)


def index_files(
    paths: Paths,
    index: IndexPath = DEFAULT_INDEX,
    encoder: EncoderName = None,
    bits: Annotated[
        int | None,
        typer.Option(help="Residual bits per dimension: 1, 2, 4 or 8.", show_default="4"),
    ] = None,
    pool_factor: Annotated[
        int | None,
        typer.Option(help="Tokens pooled into one vector, 1 to 16.", show_default="1"),
    ] = None,
    format: Format = None,
    root: Root = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = "title",
    number_field: NumberField = None,
    strict: Strict = False,
    compact: Annotated[
        bool, typer.Option(help="Merge and compress at the end.", show_default=True)
    ] = True,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Make an index of your files, or add them to one.

    Documents are named by their path, which begins with the name of the folder. Those that are
    in the index already are replaced.
    """
    from .sources import FileSource

    started = time.perf_counter()
    options = file_options(id_field, text_field, title_field, number_field)
    source = FileSource(paths, root, format, strict, options)
    documents = source.documents()
    with _open_or_create(index, encoder, bits, pool_factor, threads) as opened:
        announce(opened.encoder, quiet=as_json)
        summary = _ingest(opened, documents, source)
        if compact:
            with err.status("Merging and compressing…"):
                opened.compact()
    _report(summary, started, as_json)


def add_files(
    paths: OptionalPaths = None,
    index: IndexPath = DEFAULT_INDEX,
    text: Annotated[
        str | None, typer.Option(help="Add this text instead of files.", show_default=False)
    ] = None,
    id: Annotated[
        str | None, typer.Option(help="The id of --text.", show_default="a random one")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(help="Metadata of --text, as JSON.", show_default=False)
    ] = None,
    format: Format = None,
    root: Root = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = "title",
    number_field: NumberField = None,
    strict: Strict = False,
    threads: Threads = 0,
    encoder: EncoderName = None,
    as_json: Json = False,
) -> None:
    """Add files, or one text, to an index that exists; same ids are replaced.

    They can be found at once; `weft compact` merges and compresses later.
    """
    from ...engine.index import Index
    from .sources import FileSource

    if (text is None) == (not paths):
        raise typer.BadParameter("give either PATHS or --text.")
    started = time.perf_counter()
    if text is not None:
        with Index.open(index, encoder=encoder, threads=threads) as opened:
            announce(opened.encoder, quiet=as_json)
            summary = _add_text(opened, text, id, metadata)
        _report(summary, started, as_json)
        return
    options = file_options(id_field, text_field, title_field, number_field)
    source = FileSource(paths or [], root, format, strict, options)
    with Index.open(index, encoder=encoder, threads=threads) as opened:
        documents = source.documents()
        announce(opened.encoder, quiet=as_json)
        summary = _ingest(opened, documents, source)
    _report(summary, started, as_json)


def file_options(
    id_field: str | None,
    text_fields: list[str] | None,
    title_field: str,
    number_fields: list[str] | None,
) -> FileOptions:
    """Which fields of records mean what, as the command line names them."""
    from ..files import FileOptions

    return FileOptions(id_field, tuple(text_fields or ()), title_field, tuple(number_fields or ()))


def _open_or_create(
    path: Path, encoder: str | None, bits: int | None, pool_factor: int | None, threads: int
) -> Index:
    from ...engine import limits
    from ...engine.errors import IndexNotFoundError, InvalidParameterError
    from ...engine.index import Index

    with err.status("Loading the encoder…"):
        try:
            opened = Index.open(path, encoder=encoder, threads=threads)
        except IndexNotFoundError:
            return Index.create(
                path,
                encoder=encoder,
                bits=limits.DEFAULT_BITS if bits is None else bits,
                pool_factor=1 if pool_factor is None else pool_factor,
                threads=threads,
            )
    for name, value in (("--bits", bits), ("--pool-factor", pool_factor)):
        if value is not None:
            opened.close()
            raise InvalidParameterError(
                f"{path} is an index already; {name} is chosen when one is made. Leave it out, or "
                "make another index."
            )
    return opened


def _ingest(
    index: Index, documents: Iterator[tuple[SourceFile, Document]], source: FileSource
) -> Summary:
    """Encode and commit documents batch by batch, with a bar over the bytes read."""
    from .progress import FileProgress

    summary = Summary(str(index.path), skipped=source.problems)
    batch: list[Document] = []
    characters = 0
    with FileProgress(source.files) as bar:
        for file, document in documents:
            batch.append(document)
            characters += len(document.text)
            bar.read(file, document)
            if characters >= BATCH_CHARACTERS or len(batch) >= BATCH_DOCUMENTS:
                _commit(index, batch, summary)
                bar.committed(summary.documents, summary.passages)
                batch, characters = [], 0
        if batch:
            _commit(index, batch, summary)
        bar.finished(summary.documents, summary.passages)
    outdated = source.outdated(index.ids())
    if outdated:
        summary.deleted = len(index.delete(outdated).deleted)
    return summary


def _commit(index: Index, batch: list[Document], summary: Summary) -> None:
    result = index.upsert(batch)
    summary.documents += len(result.ids)
    summary.passages += result.n_passages
    summary.replaced += result.replaced


def _add_text(index: Index, text: str, id: str | None, metadata: str | None) -> Summary:
    result = index.upsert(
        [text],
        ids=None if id is None else [id],
        metadata=None if metadata is None else [parse_object(metadata, "--metadata")],
    )
    return Summary(str(index.path), 1, result.n_passages, result.replaced)


def parse_object(text: str, option: str) -> dict[str, Any]:
    """Parse an option's value that must be a JSON object; a usage error otherwise."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f'{option} must be a JSON object such as {{"year": 2020}}.')
    return value


def _report(summary: Summary, started: float, as_json: bool) -> None:
    summary.seconds = round(time.perf_counter() - started, 3)
    for problem in summary.skipped[:SHOWN_PROBLEMS]:
        warn(f"Skipped: {problem}")
    if len(summary.skipped) > SHOWN_PROBLEMS:
        warn(f"Skipped: {len(summary.skipped) - SHOWN_PROBLEMS} more (--strict stops at the first)")
    if as_json:
        print_json(summary.__dict__)
        return
    replaced = f", {summary.replaced:,} of them replaced" if summary.replaced else ""
    deleted = f", {summary.deleted:,} outdated ones deleted" if summary.deleted else ""
    out.print(
        f"[bold]{summary.documents:,}[/] documents in {summary.passages:,} passages"
        f"{replaced}{deleted}, in {duration(summary.seconds)}, into [bold]{summary.index}[/]"
    )
