"""Tables with a heading line, separated by commas or tabs, gzipped or not."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ...engine import limits
from ...engine.errors import InvalidDocumentError, InvalidInputError
from ...engine.evaluation.lines import numbered_lines
from .options import FileOptions, Items
from .records import to_document

_FIELD_CHARACTERS: Final = limits.MAX_DOCUMENT_CHARACTERS + 1


def read_csv(path: Path, name: str, options: FileOptions) -> Items:
    """Yield a document per row of a comma-separated file, an error for each unusable row."""
    yield from _read(path, name, options, ",")


def read_tsv(path: Path, name: str, options: FileOptions) -> Items:
    """Yield a document per row of a tab-separated file, an error for each unusable row."""
    yield from _read(path, name, options, "\t")


def _read(path: Path, name: str, options: FileOptions, separator: str) -> Items:
    rows = _rows(path, separator)
    _, columns = next(rows, (0, []))
    if not columns or len(set(columns)) != len(columns) or not all(columns):
        raise InvalidDocumentError(
            f"{path}, line 1 must name each column once, but reads "
            f"{', '.join(map(repr, columns)) or 'nothing'}."
        )
    for count, (line, values) in enumerate(rows, 1):
        where = f"{path}, line {line}"
        try:
            record = _record(columns, values, where, options)
            yield to_document(record, where, name, count, options)
        except InvalidInputError as error:
            yield error


def _record(
    columns: list[str], values: list[str], where: str, options: FileOptions
) -> dict[str, Any]:
    if len(values) != len(columns):
        raise InvalidDocumentError(
            f"{where} has {len(values)} fields under {len(columns)} headings: quote fields that "
            "hold the separator."
        )
    record: dict[str, Any] = dict(zip(columns, values, strict=True))
    for field in options.number_fields:
        if field not in record:
            raise InvalidDocumentError(f"{where} has no column {field!r} to read as a number.")
        record[field] = _number(record[field], field, where)
    return record


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row ends, and its fields."""
    csv.field_size_limit(max(csv.field_size_limit(), _FIELD_CHARACTERS))
    reader = csv.reader(
        (line for _, line in numbered_lines(path, blank=True)), delimiter=separator, strict=True
    )
    try:
        for row in filter(None, reader):
            yield reader.line_num, row
    except csv.Error as error:
        raise InvalidDocumentError(f"{path}, line {reader.line_num}: {error}.") from error


def _number(text: str, field: str, where: str) -> int | float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidDocumentError(f"{where}: {field!r} is no number: {text!r}.") from error
    if not math.isfinite(value):
        raise InvalidDocumentError(f"{where}: {field!r} is {text!r}, which is no JSON number.")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
