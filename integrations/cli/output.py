"""What the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...engine.errors import WeftError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def fail(error: WeftError) -> int:
    """Print an error in red on stderr and return the exit code."""
    message = printable(" ".join(str(error).split()))
    err.print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)
    return 1


def warn(message: str) -> None:
    """Print a line in yellow on stderr."""
    err.print(f"[yellow]{escape(printable(message))}[/]", soft_wrap=True)


def note(message: str) -> None:
    """Print a dim line on stderr."""
    err.print(f"[dim]{escape(printable(message))}[/]", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout, unstyled and unwrapped."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_json_value))


def _json_value(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form.")


def printable(text: str) -> str:
    """Replace what a terminal must not receive: control characters and lone surrogates."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def key_values(title: str, rows: dict[str, str], *, numbers: bool = False) -> Table:
    """A table of two columns without lines.

    Args:
        numbers: set the values flush right.
    """
    table = Table(
        title=title, title_style="bold", title_justify="left", box=None, show_header=False
    )
    table.add_column(style="dim")
    table.add_column(justify="right" if numbers else "left")
    for key, value in rows.items():
        table.add_row(key, escape(value))
    return table


def size(n_bytes: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.2f} GB"


def duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def announce(encoder: object, *, quiet: bool = False) -> None:
    """Print on stderr what an encoder has to say about itself, such as being zero-shot."""
    text = getattr(encoder, "announcement", None)
    if text and not quiet:
        note(str(text))
