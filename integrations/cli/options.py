"""Options that several commands share, so that each means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those left out are the engine's to choose."""
    return {name: value for name, value in options.items() if value is not None}


def hybrid_of(text: str | None) -> str | float | None:
    """What `--hybrid` says: a name, or a weight; the engine refuses what is neither."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


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
IndexFolder = Annotated[
    Path | None, typer.Argument(help="Folder of the index.", show_default=False)
]
"""The same as an argument, for commands that are about an index as a whole."""

Filter = Annotated[
    str | None,
    typer.Option(
        help='Conditions on the metadata, as JSON: \'{"year": {"$gte": 2020}}\'.',
        show_default=False,
    ),
]
GroupBy = Annotated[
    str, typer.Option(help="A hit is a document with its best passage, or a passage.")
]
Effort = Annotated[
    str | None, typer.Option(help="fast, balanced or exact.", show_default="balanced")
]
Exact = Annotated[bool, typer.Option("--exact", help="Score every passage.")]
Nprobe = Annotated[
    int | None,
    typer.Option(help="Centroids probed per query vector.", show_default="by effort"),
]
Ndocs = Annotated[
    int | None,
    typer.Option(help="Passages kept after the first cut.", show_default="by effort"),
]
NRescored = Annotated[
    int | None,
    typer.Option(help="Passages scored on their residuals.", show_default="by effort"),
]
HybridName = Annotated[
    str | None,
    typer.Option(
        help="Fuse with BM25: rrf, weighted, or the weight of late interaction, 0 to 1.",
        show_default="late interaction alone",
    ),
]
AlgorithmName = Annotated[str | None, typer.Option(help="weft or plaid.", show_default="weft")]
Threshold = Annotated[
    float | None,
    typer.Option(help="Of plaid: centroids below it are pruned.", show_default="none"),
]

EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        "-e",
        help="Checkpoint folder or hub name, such as colbert-ir/colbertv2.0; "
        "by default weft-mini, or what the index was made with.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Threads = Annotated[
    int,
    typer.Option("--threads", "-t", min=0, max=256, help="Threads to use; 0 is all cores."),
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        "-b",
        envvar="WEFT_BROKER",
        help="Redis of the workers, such as redis://localhost:6379/0.",
        show_default=False,
    ),
]
