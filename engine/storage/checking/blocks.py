"""Reads the bytes of a file against their checksums and tells every block that differs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from .... import kernels
from ...errors import StorageError
from ..checksums import BLOCK_BYTES, READ_BYTES, U32
from ..directory import Directory
from ..disk_errors import is_media_error

MAX_PLACES: Final = 1000
"""Damaged places of one file that are told one by one; a longer run follows as one."""


READS: Final = 3
"""Times that a place is read before it counts as unreadable for good."""

PAUSE_SECONDS: Final = 0.1
"""Between two of them: what fails in passing often fails twice in a row."""


@dataclass(frozen=True, slots=True)
class BadRange:
    """Bytes `[offset, offset + size_bytes)` of a file, and what is wrong with them."""

    offset: int
    size_bytes: int
    problem: str


CHANGED: Final = "is not what was written"
UNREADABLE: Final = "cannot be read from the disk"
MISSING: Final = "is missing"


def bad_ranges(
    directory: Directory, name: str, size_bytes: int, expected: U32, *, first_block: int = 0
) -> list[BadRange]:
    """Every run of damaged blocks of a file, in bounded memory.

    Args:
        directory: of the index.
        name: of the file.
        size_bytes: its length when it was written.
        expected: the checksum of each block.
        first_block: where to begin.

    Raises:
        StorageError: the disk refuses for another reason than a damaged medium.
    """
    try:
        found_bytes = directory.status(name).size_bytes
    except FileNotFoundError:
        return [BadRange(0, size_bytes, MISSING)]
    bad = _length_problem(found_bytes, size_bytes)
    for offset, problem in _bad_blocks(
        directory, name, min(found_bytes, size_bytes), expected, first_block
    ):
        last = bad[-1] if bad else None
        end = min(BLOCK_BYTES, size_bytes - offset)
        joins = last and (last.offset + last.size_bytes, last.problem) == (offset, problem)
        if last and (joins or len(bad) >= MAX_PLACES):
            bad[-1] = BadRange(last.offset, offset + end - last.offset, last.problem)
        else:
            bad.append(BadRange(offset, end, problem))
    return bad


def _length_problem(found_bytes: int, size_bytes: int) -> list[BadRange]:
    if found_bytes == size_bytes:
        return []
    kind = "longer" if found_bytes > size_bytes else "shorter"
    problem = f"has {found_bytes} bytes, {kind} than the {size_bytes} that were written"
    start, end = sorted((found_bytes, size_bytes))
    return [BadRange(start, end - start, problem)]


def _bad_blocks(
    directory: Directory, name: str, size_bytes: int, expected: U32, first_block: int
) -> Iterator[tuple[int, str]]:
    """Offset and problem of each damaged block among the bytes that are there.

    The last block of a truncated file is held against the checksum of the whole one, and differs.
    """
    for start in range(first_block * BLOCK_BYTES, size_bytes, READ_BYTES):
        piece = _read(directory, name, start, min(READ_BYTES, size_bytes - start))
        first = start // BLOCK_BYTES
        if piece is None:
            yield from _bad_one_by_one(directory, name, start, size_bytes, expected)
            continue
        sums = kernels.crc32c(np.frombuffer(piece, dtype=np.uint8), BLOCK_BYTES)
        for block in np.flatnonzero(sums != expected[first : first + len(sums)]):
            yield start + int(block) * BLOCK_BYTES, CHANGED


def _bad_one_by_one(
    directory: Directory, name: str, start: int, size_bytes: int, expected: U32
) -> Iterator[tuple[int, str]]:
    """As `_bad_blocks` for one piece in which the medium fails somewhere."""
    for offset in range(start, min(start + READ_BYTES, size_bytes), BLOCK_BYTES):
        piece = _read(directory, name, offset, min(BLOCK_BYTES, size_bytes - offset))
        if piece is None:
            yield offset, UNREADABLE
            continue
        (found,) = kernels.crc32c(np.frombuffer(piece, dtype=np.uint8), BLOCK_BYTES)
        if found != expected[offset // BLOCK_BYTES]:
            yield offset, CHANGED


def _read(directory: Directory, name: str, offset: int, length: int) -> bytes | None:
    """Bytes of a file; None where the medium fails, or the file became shorter meanwhile."""
    try:
        data = directory.read(name, offset, length)
    except FileNotFoundError:
        return None
    except StorageError as error:
        if is_media_error(error):
            return None
        raise
    return data if len(data) == length else None


def stays_unreadable(directory: Directory, name: str, offset: int, size_bytes: int | None) -> bool:
    """Whether the medium fails at a place of a file each time that it is read again.

    Args:
        directory: of the index.
        name: of the file.
        offset: where the place begins.
        size_bytes: its length; None for all that follows.

    Raises:
        StorageError: the disk refuses for another reason than a damaged medium.
    """
    for attempt in range(READS):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        if _can_be_read(directory, name, offset, size_bytes):
            return False
    return True


def _can_be_read(directory: Directory, name: str, offset: int, size_bytes: int | None) -> bool:
    try:
        end = directory.status(name).size_bytes
    except FileNotFoundError:
        return False
    end = end if size_bytes is None else offset + size_bytes
    pieces = range(offset, end, READ_BYTES)
    return all(
        _read(directory, name, start, min(READ_BYTES, end - start)) is not None for start in pieces
    )
