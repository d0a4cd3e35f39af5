"""`weft serve`: the HTTP service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from .options import Broker, EncoderName, Threads

Root = Annotated[
    Path, typer.Argument(help="Folder of collections, made if need be; or of one index.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port to listen on.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="API keys as TOML; WEFT_API_KEY holds a single one for everything.",
        show_default=False,
    ),
]
NoAuth = Annotated[
    bool, typer.Option("--no-auth", help="Let everybody who reaches it do everything.")
]
Processes = Annotated[int, typer.Option(min=1, max=256, help="Each opens the indexes by itself.")]
Queue = Annotated[bool, typer.Option("--queue", help="Let documents be queued without Redis too.")]
MaintenanceSeconds = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="How often it looks what is due to the indexes; 0 is never.",
        show_default="15, and 0 with a queue, whose workers do it",
    ),
]
MaxBody = Annotated[int, typer.Option(min=1, help="Bytes of a request's body.")]
MaxFile = Annotated[int, typer.Option(min=1, help="Bytes of an uploaded file.")]
MaxK = Annotated[int, typer.Option(min=1, max=10_000, help="Hits of one query.")]
LogFormat = Annotated[str, typer.Option(help="json or text.")]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("serve")(serve)


def serve(
    root: Root = Path("weft-collections"),
    host: Host = "127.0.0.1",
    port: Port = 8000,
    key_file: KeyFile = None,
    no_auth: NoAuth = False,
    processes: Processes = 1,
    encoder: EncoderName = None,
    broker: Broker = None,
    queue: Queue = False,
    maintenance_seconds: MaintenanceSeconds = None,
    threads: Threads = 0,
    max_body: MaxBody = 32 * 2**20,
    max_file: MaxFile = 64 * 2**20,
    max_k: MaxK = 1000,
    log_format: LogFormat = "json",
    log_level: LogLevel = "info",
) -> None:
    """Serve collections over HTTP: Weft's API, OpenAI's vector stores, reranking.

    Without keys it listens on this machine alone. The page /docs shows all routes.
    """
    from ..service import Key, ServiceLimits, ServiceSettings, read_keys
    from ..service import serve as run

    if log_format not in ("json", "text"):
        raise typer.BadParameter("--log-format is json or text.")
    keys = () if key_file is None else read_keys(key_file)
    if os.environ.get("WEFT_API_KEY"):
        keys = (*keys, Key.of(os.environ["WEFT_API_KEY"], "WEFT_API_KEY"))
    if keys and no_auth:
        raise typer.BadParameter("--no-auth contradicts the keys that are given.")
    if maintenance_seconds is None:
        maintenance_seconds = 0.0 if queue or broker else 15.0
    settings = ServiceSettings(
        root,
        keys,
        ServiceLimits(body_bytes=max_body, file_bytes=max_file, k=max_k),
        encoder=encoder,
        broker_url=broker,
        queue=queue,
        maintenance_seconds=maintenance_seconds,
        threads=threads,
        anyone=no_auth,
    )
    run(
        settings,
        host=host,
        port=port,
        processes=processes,
        level=log_level,
        log_as_json=log_format == "json",
    )
