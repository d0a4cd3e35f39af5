"""Writes a new file in whole, aligned regions of 2 MiB, whatever pieces it is given in.

The page cache takes up a file in pieces as large as the single writes were. A region that comes
with one write lies there as one huge page, and is mapped as one: a search that jumps about in it
needs one entry of the processor's translation cache where it needs 512 otherwise. Nothing need be
asked of the mapping for that, so that cold indexes larger than memory are still read by small
pages.
"""

from __future__ import annotations

import os
from typing import Final

from .descriptors import read_all

REGION_BYTES: Final = 2 << 20
"""Length and alignment of a region: a huge page of x86-64, and of ARM with pages of 4 KiB."""

OPEN_REGIONS: Final = 16
"""Regions that are gathered at a time: a segment's tensors grow in turn, each at its own end."""


class RegionFile:
    """A new file by its descriptor, whose regions are gathered in memory until they are whole.

    A region is written when all its bytes were given, when it is read, when it is the oldest of
    too many, or by `write_out`. What is given of it afterwards goes to the file at once. Where the
    disk refuses, the region is kept, so that the next attempt writes it or fails again.

    Args:
        descriptor: of an empty file, open for reading and writing; nobody else writes to it.
        open_regions: how many are gathered at a time; 0 hands everything on at once.
    """

    def __init__(self, descriptor: int, open_regions: int = OPEN_REGIONS) -> None:
        self._descriptor = descriptor
        self._open_regions = open_regions
        self._open: dict[int, _Region] = {}
        self._written: set[int] = set()
        self._end = 0

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Take all of `data` at a byte offset, which may lie beyond the end.

        Raises:
            OSError: the disk refuses this or what was given before.
        """
        view = memoryview(data).cast("B")
        if view:
            self._end = max(self._end, offset + len(view))
        while view:
            taken = self._write_through(offset, view) or self._gather(offset, view)
            view, offset = view[taken:], offset + taken

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes as they were given; zeros where nobody gave any.

        Raises:
            OSError: the disk refuses.
        """
        found = read_all(self._descriptor, offset, length)
        # The file may still be shorter than what was given.
        return found.ljust(min(length, self._end - offset), b"\0")

    def write_out(self, offset: int = 0, length: int | None = None) -> None:
        """Write the gathered regions that overlap a range, to the end by default.

        Raises:
            OSError: the disk refuses.
        """
        end = self._end if length is None else offset + length
        for number in sorted(self._open):
            if number * REGION_BYTES < end and offset < (number + 1) * REGION_BYTES:
                self._write_region(number)

    def _write_through(self, offset: int, view: memoryview) -> int:
        """Write the first bytes as far as nothing is gained by gathering them: how many."""
        position, end = offset, offset + len(view)
        whole: list[int] = []
        while position < end:
            number, at = divmod(position, REGION_BYTES)
            if number not in self._written:
                if number in self._open or at or end - position < REGION_BYTES:
                    break
                whole.append(number)
            position += REGION_BYTES - at
        taken = min(position, end) - offset
        self._written.update(whole)
        self._pwrite(offset, view[:taken])
        return taken

    def _gather(self, offset: int, view: memoryview) -> int:
        """Take the bytes up to the end of the region: how many."""
        number, at = divmod(offset, REGION_BYTES)
        piece = view[: REGION_BYTES - at]
        region = self._open.setdefault(number, _Region())
        region.put(at, piece)
        if region.given_bytes >= REGION_BYTES:
            self._write_region(number)
        elif len(self._open) > self._open_regions:
            self._write_region(next(iter(self._open)))
        return len(piece)

    def _write_region(self, number: int) -> None:
        with memoryview(self._open[number].content) as content:
            self._pwrite(number * REGION_BYTES, content)
        del self._open[number]
        self._written.add(number)

    def _pwrite(self, offset: int, view: memoryview) -> None:
        """Write all of it: one call may write less."""
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written


class _Region:
    """What was given of a region, up to its last byte that was."""

    __slots__ = ("content", "given_bytes")

    def __init__(self) -> None:
        self.content = bytearray()
        self.given_bytes = 0
        """Bytes given twice count twice: the region is then written early, and nothing is lost."""

    def put(self, at: int, piece: memoryview) -> None:
        """Take bytes at an offset within the region."""
        content = self.content
        if at > len(content):
            content.extend(bytes(at - len(content)))
        # Not by a slice of the bytearray itself, to which Python would assign a copy of the piece.
        inside = min(len(piece), len(content) - at)
        with memoryview(content) as view:
            view[at : at + inside] = piece[:inside]
        content += piece[inside:]
        self.given_bytes += len(piece)
