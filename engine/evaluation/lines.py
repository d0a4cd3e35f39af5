"""Lines of UTF-8 files, gzipped or not, with errors that name the file and the line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from ..errors import InvalidInputError

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Longer lines are refused, so that a file without line breaks cannot fill the memory."""


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, unpacking it where its name ends in `.gz`.

    Raises:
        InvalidInputError: the file is not there or may not be read.
    """
    try:
        if path.suffix.lower() == ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}.") from error


def numbered_lines(path: Path, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the number (from 1) and the text of each line, its line break included.

    Args:
        blank: yield blank lines too.

    Raises:
        InvalidInputError: the file cannot be read, is damaged, holds a line longer than
            `MAX_LINE_BYTES` or bytes that are not UTF-8; names file, line and byte offset.
    """
    offset = 0
    for number, line in enumerate(raw_lines(path), 1):
        text = _decode(line, path, number, offset)
        offset += len(line)
        if blank or text.strip():
            yield number, text


def raw_lines(path: Path) -> Iterator[bytes]:
    """Yield the bytes of each line, its line break included.

    Raises:
        InvalidInputError: the file cannot be read, is damaged, or holds a line longer than
            `MAX_LINE_BYTES`; names the file, and the line where it knows it.
    """
    with open_bytes(path) as file:
        for number, line in enumerate(_lines(file, path), 1):
            if len(line) > MAX_LINE_BYTES:
                raise InvalidInputError(
                    f"{path}, line {number} is longer than {MAX_LINE_BYTES:,} bytes: is it a file "
                    "of one record per line?"
                )
            yield line


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        while line := file.readline(MAX_LINE_BYTES + 1):
            yield line
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{path} is damaged or cannot be read: {error}.") from error


def _decode(line: bytes, path: Path, number: int, offset: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path}, line {number}: byte {line[error.start]:#04x} at offset "
            f"{offset + error.start:,} is not UTF-8. Convert the file, with iconv for example."
        ) from error
    return text.removeprefix("\ufeff") if number == 1 else text


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and the object of each line of a JSON lines file.

    Raises:
        InvalidInputError: a line is no JSON object; names file and line.
    """
    for number, line in numbered_lines(path):
        yield number, json_object(line, f"{path}, line {number}")


def json_object(line: str, where: str) -> dict[str, Any]:
    """Parse a line that must hold a JSON object.

    Raises:
        InvalidInputError: it holds something else; names `where`.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{where} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidInputError(
            f"{where} is a JSON {type(value).__name__}, not an object: each line must look like "
            '{"id": "…", "text": "…"}.'
        )
    return value


def tab_separated(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each line of a tab-separated file.

    The last field keeps any further tabs.

    Raises:
        InvalidInputError: a line has fewer than `columns` fields; names file and line.
    """
    for number, line in numbered_lines(path):
        fields = line.rstrip("\r\n").split("\t", columns - 1)
        if len(fields) < columns:
            raise InvalidInputError(
                f"{path}, line {number} has {len(fields)} tab-separated fields; "
                f"{columns} are needed."
            )
        yield number, fields
