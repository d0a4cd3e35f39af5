"""CRC32C per 64 KiB block: written beside the files, checked when a block is first touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..errors import CorruptIndexError
from .directory import Directory
from .mapping import Bytes

BLOCK_BYTES: Final = 65536
"""Bytes that share one checksum."""

READ_BYTES: Final = 64 * BLOCK_BYTES
"""Bytes read at a time where a file is read from end to end."""

U32 = NDArray[np.uint32]


def checksum(data: bytes) -> int:
    """CRC32C of all bytes together."""
    if not data:
        return 0
    return int(kernels.crc32c(np.frombuffer(data, dtype=np.uint8), len(data))[0])


def file_blocks(directory: Directory, name: str) -> Iterator[tuple[int, Bytes]]:
    """A file in pieces of `READ_BYTES`, each with its offset, in bounded memory."""
    offset = 0
    while data := directory.read(name, offset, READ_BYTES):
        yield offset, np.frombuffer(data, dtype=np.uint8)
        offset += len(data)


def file_checksums(directory: Directory, name: str) -> U32:
    """CRC32C of each block of a file, uint32 [ceil(size / BLOCK_BYTES)]."""
    tables = [kernels.crc32c(piece, BLOCK_BYTES) for _, piece in file_blocks(directory, name)]
    return np.concatenate(tables) if tables else np.empty(0, dtype=np.uint32)


def verify_file(directory: Directory, name: str, size_bytes: int, expected: U32) -> None:
    """Read a whole file against its checksums.

    Raises:
        CorruptIndexError: another length, or a block that is not what was written.
    """
    found_bytes = 0
    _require_table(name, size_bytes, expected)
    for offset, piece in file_blocks(directory, name):
        first = offset // BLOCK_BYTES
        found_bytes = offset + piece.size
        if found_bytes <= size_bytes:
            _compare(name, kernels.crc32c(piece, BLOCK_BYTES), expected, first)
    require_length(name, found_bytes, size_bytes)


def read_verified(directory: Directory, name: str, size_bytes: int, crc: int) -> bytes:
    """The content of a small file, checked against its length and checksum.

    Raises:
        CorruptIndexError: it is missing, of another length, or not what was written.
    """
    try:
        # The length first, so that no room is made for what is not there.
        require_length(name, directory.status(name).size_bytes, size_bytes)
        data = directory.read(name)
    except FileNotFoundError as error:
        raise CorruptIndexError(f"{name} is missing: restore the index from a copy.") from error
    require_length(name, len(data), size_bytes)
    if checksum(data) != crc:
        raise CorruptIndexError(f"{name}: the checksum of its {size_bytes} bytes does not match.")
    return data


def require_length(name: str, found_bytes: int, expected_bytes: int) -> None:
    """Raise `CorruptIndexError` for a file of another length than was written."""
    if found_bytes != expected_bytes:
        kind = "longer than" if found_bytes > expected_bytes else f"{found_bytes} bytes instead of"
        raise CorruptIndexError(f"{name} is {kind} the {expected_bytes} bytes that were written.")


def _require_table(name: str, size_bytes: int, expected: U32) -> None:
    if len(expected) != -(-size_bytes // BLOCK_BYTES):
        raise CorruptIndexError(f"{name}: {len(expected)} checksums for {size_bytes} bytes.")


def _compare(name: str, found: U32, expected: U32, first: int) -> None:
    bad = np.flatnonzero(found != expected[first : first + len(found)])
    if len(bad):
        raise CorruptIndexError(
            f"{name}: the block of {BLOCK_BYTES} bytes at offset "
            f"{(first + int(bad[0])) * BLOCK_BYTES} is not what was written: "
            "restore the index from a copy."
        )


class CheckedFile:
    """A file in memory (mapped or read) whose blocks are checked when first touched.

    Args:
        name: for messages.
        data: uint8, the whole file.
        expected: uint32, the checksum of each block.

    Attributes:
        unchecked: bool, one per block; True until it was checked.

    Raises:
        CorruptIndexError: the number of checksums does not fit the file.
    """

    def __init__(self, name: str, data: Bytes, expected: U32) -> None:
        _require_table(name, data.size, expected)
        self.name = name
        self.data = data
        self._expected = expected
        self.unchecked = np.ones(len(expected), dtype=np.bool_)
        self._count_unchecked()

    def _count_unchecked(self) -> None:
        """Prefix sums tell whether a range holds unchecked blocks without walking it.

        Blocks only ever become checked, so sums that another thread has overtaken make a block
        be checked twice, and never not at all.
        """
        self._before = np.concatenate(([0], np.cumsum(self.unchecked)))
        self.all_checked = not self.unchecked.any()

    def touch(self, starts: NDArray[Any], ends: NDArray[Any]) -> None:
        """Check the blocks behind byte ranges `[start, end)` that were not checked yet.

        Raises:
            CorruptIndexError: a block is not what was written.
        """
        if self.all_checked:
            return
        firsts, lasts = starts // BLOCK_BYTES, -(-ends // BLOCK_BYTES)
        lasts = np.maximum(lasts, firsts)
        # Loaded once: sums from before and after another thread's check do not subtract.
        before = self._before
        new = before[lasts] > before[firsts]
        if not new.any():
            return
        wanted = np.zeros(len(self._expected) + 1, dtype=np.int64)
        np.add.at(wanted, firsts[new], 1)
        np.add.at(wanted, lasts[new], -1)
        self._check((np.cumsum(wanted)[:-1] > 0) & self.unchecked)

    def touch_range(self, start: int, end: int) -> None:
        """Check the blocks of one byte range."""
        self.touch(np.array([start]), np.array([end]))

    def _check(self, wanted: NDArray[np.bool_]) -> None:
        """Check runs of neighbouring blocks with one call each."""
        edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
        for first, last in edges.reshape(-1, 2).tolist():
            piece = self.data[first * BLOCK_BYTES : last * BLOCK_BYTES]
            _compare(self.name, kernels.crc32c(piece, BLOCK_BYTES), self._expected, first)
            self.unchecked[first:last] = False
        self._count_unchecked()
