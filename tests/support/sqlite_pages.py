"""SQLite pages written by hand: trees and overflow chains that lead in circles.

Layout: https://www.sqlite.org/fileformat2.html, sections 1.3 to 1.6.
"""

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

PAGE = 4096
LEVELS = 6


def root_page(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        return connection.execute(query, (table,)).fetchone()[0]


def varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def page(kind: int, cells: list[bytes], right: int | None = None) -> bytes:
    """A b-tree page; interior ones have a rightmost child."""
    data = bytearray(PAGE)
    header = 8 if right is None else 12
    end = PAGE
    for number, cell in enumerate(cells):
        end -= len(cell)
        data[end : end + len(cell)] = cell
        at = header + 2 * number
        data[at : at + 2] = end.to_bytes(2, "big")
    assert end >= header + 2 * len(cells)
    data[0] = kind
    data[3:5] = len(cells).to_bytes(2, "big")
    data[5:7] = end.to_bytes(2, "big")
    if right is not None:
        data[8:12] = right.to_bytes(4, "big")
    return bytes(data)


def place(data: bytearray, pages: dict[int, bytes]) -> None:
    """Put pages into a file, numbered from 1, and correct the number of pages."""
    for number, content in pages.items():
        start = (number - 1) * PAGE
        data.extend(bytes(max(0, start + PAGE - len(data))))
        data[start : start + PAGE] = content
    data[28:32] = (len(data) // PAGE).to_bytes(4, "big")


def endless_metadata(data: bytearray, root: int) -> None:
    """An index of a few pages whose walk visits 250 ** 6 rows: all children are the same page."""
    # The record ('k', 0, 2, 1, 0): a text, and integers of which three need no bytes.
    record = bytes([6, 15, 8, 1, 9, 8]) + b"k\x02"
    first = len(data) // PAGE + 1
    numbers = [root, *range(first, first + LEVELS - 1)]
    pages = {}
    for number, child in pairwise(numbers):
        cell = child.to_bytes(4, "big") + varint(len(record)) + record
        pages[number] = page(0x02, [cell] * 250, child)
    pages[numbers[-1]] = page(0x0A, [varint(len(record)) + record] * 250)
    place(data, pages)


def endless_text(data: bytearray, root: int, docno: int, length: int) -> None:
    """One document, whose text goes round in one overflow page until it is as long as asked."""
    overflow = len(data) // PAGE + 1
    leaf = page(0x0D, [text_cell(docno, length, overflow)])
    place(data, {root: leaf, overflow: overflow.to_bytes(4, "big") + b"x" * (PAGE - 4)})


def text_cell(docno: int, length: int, overflow: int) -> bytes:
    """A row of `documents` whose text goes on in overflow pages."""
    kinds = [0, 13 + 2 * 1, 0, 13 + 2 * 2, 13 + 2 * length]
    header = b"".join(varint(kind) for kind in kinds)
    body = bytes([len(header) + 1]) + header + b"d{}"
    size = len(body) + length
    least = (PAGE - 12) * 32 // 255 - 23
    local = least + (size - least) % (PAGE - 4)
    local = local if local <= PAGE - 35 else least
    content = body.ljust(local, b"x")
    return varint(size) + varint(docno) + content + overflow.to_bytes(4, "big")
