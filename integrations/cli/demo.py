"""`weft demo`: real text, five questions, an upsert and a delete, in a few minutes."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.progress import Progress

from .output import announce, duration, err, out

if TYPE_CHECKING:
    from ...engine.documents import Document
    from ...engine.index import Index

QUESTIONS: Final = (
    "Why does a list used as a default argument keep its values between calls?",
    "How long does a small piece of code take to run?",
    "get the ten biggest items of a collection without sorting all of it",
    "cut a long line of text so that it fits a given width",
    "find the best close matches for a misspelled word",
)
BATCH: Final = 128
FLAT_BELOW_TOKENS: Final = 50_000

NOTE_ID: Final = "notes/coffee"
NOTE_QUESTION: Final = "When is the coffee machine cleaned?"
NOTES: Final = (
    "The coffee machine on the second floor is descaled on the first Monday of every month.",
    "The coffee machine on the second floor is descaled every Friday evening.",
)


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("demo")(demo)


def demo(
    index: Annotated[
        Path | None,
        typer.Option("--index", "-i", help="Folder to keep it in.", show_default="a temporary one"),
    ] = None,
    passages: Annotated[int, typer.Option(min=100, max=100_000, help="Texts to index.")] = 3_200,
) -> None:
    """Index the documentation on this machine and answer five questions. No network needed."""
    from .demo_text import documents

    started = time.perf_counter()
    folder = index or Path(tempfile.mkdtemp(prefix="weft-demo-"), "index")
    with err.status("Gathering documentation…"):
        texts = documents(passages)
    with _open(folder) as opened:
        announce(opened.encoder)
        _fill(opened, texts)
        _ask(opened)
        _change(opened)
        _show_size(opened)
    _show_next(folder, time.perf_counter() - started)


def _open(folder: Path) -> Index:
    from ...engine.errors import IndexNotFoundError
    from ...engine.index import Index

    with err.status("Loading the encoder…"):
        try:
            return Index.open(folder)
        except IndexNotFoundError:
            return Index.create(folder, flat_below_tokens=FLAT_BELOW_TOKENS)


def _fill(index: Index, texts: list[Document]) -> None:
    """Add what is not there yet, batch by batch; each batch can be searched at once."""
    present = set(index.ids())
    missing = iter([document for document in texts if document.id not in present])
    started = time.perf_counter()
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Indexing", total=len(texts), completed=len(texts) - len(present))
        while batch := list(islice(missing, BATCH)):
            index.add(batch)
            bar.advance(task, len(batch))
        bar.update(task, description="Compressing")
        index.compact()
    stats = index.stats()
    out.print(
        f"[bold]{stats.n_documents:,}[/] texts of this machine's Python documentation, "
        f"{stats.n_passages:,} passages, {stats.n_tokens:,} tokens: indexed in "
        f"{duration(time.perf_counter() - started)}\n"
    )


def _ask(index: Index) -> None:
    from .searching import Answer, answer, show

    for question in QUESTIONS:
        result = Answer(question)
        answer(index, result, 2)
        times = f"encoding {duration(result.seconds['encode'])}, searching "
        times += duration(result.seconds["search"])
        out.print(f"[bold cyan]? {escape(question)}[/]  [dim]{times}[/]", soft_wrap=True)
        show(result)


def _change(index: Index) -> None:
    """Show that an upsert and a delete are seen by the next search."""
    out.print(f"[bold cyan]? {NOTE_QUESTION}[/]")
    for verb, note in zip(("added", "replaced"), NOTES, strict=True):
        index.upsert([note], ids=[NOTE_ID])
        hit = index.search(NOTE_QUESTION, 1)[0]
        out.print(f"  {verb}: the best hit is [bold]{escape(hit.id)}[/], {escape(hit.text)}")
    index.delete([NOTE_ID])
    hit = index.search(NOTE_QUESTION, 1)[0]
    out.print(f"  deleted: the best hit is [bold]{escape(hit.id)}[/]\n")


def _show_size(index: Index) -> None:
    from .manage import show_stats

    show_stats(asdict(index.stats()))


def _show_next(folder: Path, seconds: float) -> None:
    out.print(f"\nAll of it took {duration(seconds)}. Go on with:")
    for command in (
        f'weft search -i {folder} "how do I read a CSV file?"',
        f'weft explain -i {folder} "delete a folder" shutil.rmtree',
        "weft index YOUR-FOLDER",
    ):
        out.print(f"  [bold]{escape(command)}[/]", soft_wrap=True)
