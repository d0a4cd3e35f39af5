"""Reads the metadata that fast-plaid keeps beside an index for its filters."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from ..errors import ForeignIndexError

METADATA_FILE: Final = "metadata.db"


def read_metadata(folder: Path, n_passages: int) -> dict[int, dict[str, Any]]:
    """Metadata by passage; columns without a value are left out.

    Raises:
        ForeignIndexError: the file is damaged, or has a row for no passage.
    """
    path = folder / METADATA_FILE
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            cursor = connection.execute("SELECT * FROM METADATA")
            columns = [column[0] for column in cursor.description]
            return dict(_row(columns, row, path, n_passages) for row in cursor)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise ForeignIndexError(f"{path} is no metadata of fast-plaid ({error}).") from error


def _row(
    columns: list[str], row: tuple[Any, ...], path: Path, n_passages: int
) -> tuple[int, dict[str, Any]]:
    values = dict(zip(columns, row, strict=True))
    pid = values.pop("_subset_", None)
    if type(pid) is not int or not 0 <= pid < n_passages:
        raise ForeignIndexError(f"{path} has a row for passage {pid!r:.40}, which there is not.")
    blob = next((name for name, value in values.items() if isinstance(value, bytes)), None)
    if blob is not None:
        raise ForeignIndexError(f"{path}: {blob!r} of passage {pid} is no text and no number.")
    return pid, {name: value for name, value in values.items() if value is not None}
