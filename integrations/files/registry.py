"""Which reader takes which file, by suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...engine.errors import InvalidParameterError
from . import html, jsonl, markdown, pdf, table, text
from .options import FileOptions, Items

Reader = Callable[[Path, str, FileOptions], Items]
"""Takes a file, its name in the index and the options."""

READERS: Final[dict[str, Reader]] = {
    "text": text.read,
    "markdown": markdown.read,
    "html": html.read,
    "pdf": pdf.read,
    "jsonl": jsonl.read,
    "csv": table.read_csv,
    "tsv": table.read_tsv,
}

SUFFIXES: Final = {
    ".txt": "text",
    ".text": "text",
    ".rst": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
}

GZIPPED: Final = frozenset({"jsonl", "csv", "tsv"})
FORMATS: Final = tuple(READERS)


def format_of(path: Path) -> str | None:
    """Return the format that a file's name stands for, None where it is not known."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        inner = SUFFIXES.get(suffixes[0]) if len(suffixes) == 2 else None
        return inner if inner in GZIPPED else None
    return SUFFIXES.get(suffixes[-1]) if suffixes else None


def reader_for(format: str) -> Reader:
    """Return the reader of a format.

    Raises:
        InvalidParameterError: there is none of that name.
    """
    try:
        return READERS[format]
    except KeyError as error:
        raise InvalidParameterError(
            f"Format {format!r} is not known: use one of {', '.join(FORMATS)}."
        ) from error
