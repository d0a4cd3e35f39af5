"""Options that several commands share, so that each means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

IndexPath = Annotated[
    Path,
    typer.Option(
        "--index",
        "-i",
        envvar="WEFT_INDEX",
        help="Folder of the index.",
        show_default="./weft-index",
    ),
]
DEFAULT_INDEX = Path("weft-index")

EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        "-e",
        help="Checkpoint folder or hub name, such as colbert-ir/colbertv2.0; "
        "by default the local MiniLM, or what the index was made with.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Threads = Annotated[
    int,
    typer.Option("--threads", "-t", min=0, max=256, help="Threads to use; 0 is all cores."),
]
