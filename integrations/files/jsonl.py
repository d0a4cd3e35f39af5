"""JSON lines, gzipped or not: one document per line."""

from __future__ import annotations

from pathlib import Path

from ...engine.errors import InvalidInputError
from ...engine.evaluation.lines import json_object, numbered_lines
from .options import FileOptions, Items
from .records import to_document


def read(path: Path, name: str, options: FileOptions) -> Items:
    """Yield a document per line, an error for each line that holds none.

    A line without an id is named by its number.

    Raises:
        InvalidInputError: the file cannot be read, or not as UTF-8.
    """
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            yield to_document(json_object(line, where), where, name, number, options)
        except InvalidInputError as error:
            yield error
