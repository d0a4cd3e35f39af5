"""`weft worker`, `weft submit` and `weft dead-letters`: the ingestion queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ingest import (
    Format,
    IdField,
    NumberField,
    OptionalPaths,
    Root,
    Strict,
    TextField,
    TitleField,
    file_options,
)
from .options import DEFAULT_INDEX, Broker, EncoderName, IndexPath, Json, Threads
from .output import duration, err, out, print_json, printable, warn

if TYPE_CHECKING:
    from ...engine.documents import Document
    from ...workers import Client, SubmissionStatus

BATCH_DOCUMENTS = 64
BATCH_CHARACTERS = 1_000_000
SHOWN_PROBLEMS = 10
PATIENCE_SECONDS = 10.0

letters = typer.Typer(no_args_is_help=True, help="What workers have set aside, and why.")
Numbers = Annotated[
    list[str] | None, typer.Argument(help="Their numbers.", show_default=False, metavar="ID")
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


Indexes = Annotated[
    list[Path],
    typer.Option("--index", "-i", envvar="WEFT_INDEX", help="Folder of an index; may be repeated."),
]
Queues = Annotated[str, typer.Option(help="encode, maintenance, or both: which work it takes.")]
Pool = Annotated[str, typer.Option(help="prefork, or solo or threads, which know no time limit.")]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Processes (or threads); each loads the model.",
        show_default="one for each of the queues",
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Port of Prometheus metrics.", show_default="none"),
]
Batch = Annotated[int, typer.Option(min=1, help="Documents that are committed together.")]
Linger = Annotated[float, typer.Option(min=0, max=60, help="Seconds to wait for a batch to fill.")]
TimeLimit = Annotated[
    float,
    typer.Option(min=1, help="Seconds after which a submission's encoding is interrupted."),
]
MaintenanceSeconds = Annotated[
    float, typer.Option(min=0, help="How often it looks what is due; 0 is never.")
]
EncoderThreads = Annotated[
    int,
    typer.Option(min=0, max=256, help="PyTorch's threads in each process; 0 is its default."),
]
LogFormat = Annotated[str, typer.Option(help="json or text.")]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("worker")(worker)
    app.command("submit")(submit)
    app.add_typer(letters, name="dead-letters")


def worker(
    index: Indexes,
    broker: Broker = None,
    queues: Queues = "encode,maintenance",
    pool: Pool = "prefork",
    concurrency: Concurrency = None,
    metrics_port: MetricsPort = None,
    batch: Batch = 256,
    linger: Linger = 0.0,
    time_limit: TimeLimit = 1800.0,
    maintenance_seconds: MaintenanceSeconds = 15.0,
    encoder: EncoderName = None,
    threads: Threads = 0,
    encoder_threads: EncoderThreads = 0,
    log_format: LogFormat = "json",
    log_level: LogLevel = "info",
) -> None:
    """Encode and commit what is submitted, merge and look after the index, until SIGTERM.

    Several workers, on any machines that see the folder, share the work.
    """
    from ...workers import BatchLimits, WorkerSettings, serve, set_up_logging
    from ...workers import default_broker as default

    if log_format not in ("json", "text"):
        raise typer.BadParameter("--log-format is json or text.")
    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("--log-level is debug, info, warning or error.")
    set_up_logging(log_level, as_json=log_format == "json")
    settings = WorkerSettings(
        tuple(index),
        broker or default(),
        BatchLimits(operations=batch, linger_seconds=linger),
        time_limit_seconds=time_limit,
        maintenance_seconds=maintenance_seconds,
        encoder=encoder,
        threads=threads,
        encoder_threads=encoder_threads,
    )
    serve(
        settings,
        kinds=[kind.strip() for kind in queues.split(",") if kind.strip()],
        pool=pool,
        concurrency=concurrency,
        metrics_port=metrics_port,
        level=log_level,
    )


def submit(
    paths: OptionalPaths = None,
    index: IndexPath = DEFAULT_INDEX,
    broker: Broker = None,
    delete: Annotated[
        list[str] | None,
        typer.Option("--delete", help="Delete this document; may be repeated.", metavar="ID"),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until everything is searchable.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds to wait, also for room in a full inbox.", show_default="none"
        ),
    ] = None,
    format: Format = None,
    root: Root = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = "title",
    number_field: NumberField = None,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Hand files to the workers of an index; they are safe on disk when the command returns.

    Without `--broker` the workers find them within seconds.
    """
    from ...workers import Client
    from .sources import FileSource

    if not paths and not delete:
        raise typer.BadParameter("give PATHS, or ids to --delete.")
    started = time.perf_counter()
    problems: list[str] = []
    with Client(index, broker) as client:
        ids = [client.submit(delete=delete, timeout=timeout)] if delete else []
        if paths:
            options = file_options(id_field, text_field, title_field, number_field)
            source = FileSource(paths, root, format, strict, options)
            documents = (document for _, document in source.documents())
            ids += [client.submit(batch, timeout=timeout) for batch in _batches(documents)]
            problems = source.problems
        statuses = _wait(client, ids, index, timeout) if wait else []
    _report(ids, statuses, problems, time.perf_counter() - started, as_json)


def _report(
    ids: list[str],
    statuses: list[SubmissionStatus],
    problems: list[str],
    seconds: float,
    as_json: bool,
) -> None:
    failed = {status.id: dict(status.reasons) for status in statuses if status.state == "failed"}
    waiting = [status.id for status in statuses if not status.is_settled]
    for problem in problems[:SHOWN_PROBLEMS]:
        warn(f"Skipped: {problem}")
    if len(problems) > SHOWN_PROBLEMS:
        warn(f"Skipped: {len(problems) - SHOWN_PROBLEMS} more")
    if as_json:
        found = {"submissions": ids, "failed": failed, "waiting": waiting, "skipped": problems}
        print_json(found)
    else:
        done = len(ids) - len(failed) - len(waiting)
        what = f"{done:,} searchable" if statuses else "safe in the inbox"
        first_last = ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"
        out.print(f"[bold]{len(ids):,}[/] submissions ({first_last}), {what}, {duration(seconds)}")
    for id, reasons in failed.items():
        for document, reason in reasons.items():
            warn(f"{id} {document}: {reason}")
    if waiting:
        warn(f"{len(waiting):,} submissions still wait: see weft status.")
    if failed or waiting:
        raise typer.Exit(1)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Submissions of a size that workers can share out; an id twice begins a new one."""
    batch: dict[str, Document] = {}
    characters = 0
    for document in documents:
        full = len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS
        if batch and (full or document.id in batch):
            yield list(batch.values())
            batch, characters = {}, 0
        batch[document.id] = document
        characters += len(document.text)
    if batch:
        yield list(batch.values())


def _wait(
    client: Client, ids: list[str], index: Path, timeout: float | None
) -> list[SubmissionStatus]:
    """Wait for submissions; says so if nobody seems to work on them."""
    from ...workers import Watcher

    deadline = None if timeout is None else time.monotonic() + timeout
    with err.status("Waiting for the workers…"):
        if not client.wait(ids[0], PATIENCE_SECONDS if timeout is None else timeout).is_settled:
            n_workers = Watcher(index).look().n_workers
            if not n_workers:
                warn(f"No worker seems to be at it: weft worker --index {index}")
        return [
            client.wait(id, None if deadline is None else max(0.0, deadline - time.monotonic()))
            for id in ids
        ]


@letters.command("list")
def list_letters(index: IndexPath = DEFAULT_INDEX, as_json: Json = False) -> None:
    """Show what was set aside."""
    from ...workers import dead_letters

    found = dead_letters(index)
    if as_json:
        print_json([{**asdict(letter), "id": letter.id} for letter in found])
        return
    for letter in found:
        for document, reason in letter.reasons.items() or [("", "the reason is not known")]:
            out.print(f"[bold]{letter.id}[/] ", end="")
            out.print(printable(f"{document or '(all)'}: {reason}"), markup=False, soft_wrap=True)
    if not found:
        out.print("Nothing was set aside")


@letters.command("retry")
def retry_letters(
    ids: Numbers = None,
    index: IndexPath = DEFAULT_INDEX,
    broker: Broker = None,
    everything: All = False,
) -> None:
    """Have them tried again; each keeps its place among the changes."""
    from ...workers import retry

    chosen = _chosen(index, ids, everything)
    retry(index, chosen, broker)
    out.print(f"{len(chosen)} will be tried again")


@letters.command("drop")
def drop_letters(
    ids: Numbers = None, index: IndexPath = DEFAULT_INDEX, everything: All = False
) -> None:
    """Give them up."""
    from ...workers import drop

    chosen = _chosen(index, ids, everything)
    drop(index, chosen)
    out.print(f"{len(chosen)} dropped")


def _chosen(index: Path, ids: list[str] | None, everything: bool) -> list[int]:
    from ...workers import dead_letters

    if bool(ids) == everything:
        raise typer.BadParameter("give the numbers of dead letters, or --all.")
    if everything:
        return [letter.sequence for letter in dead_letters(index)]
    for id in ids or []:
        if not id.isascii() or not id.isdigit():
            raise typer.BadParameter(f"{id!r} is no number of a dead letter.")
    return [int(id) for id in ids or []]
