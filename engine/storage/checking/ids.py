"""The id table of a segment: that each of its parts tells the same ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from ... import limits
from ..identifiers import U64, IdTable, hash_ids

CHUNK_IDS: Final = 1 << 16
"""Ids that are looked at at a time."""


def id_problems(table: IdTable) -> Iterator[str]:
    """What is wrong with an id table whose tensors fit together, in words.

    An id that stands twice is no damage of the table: see `duplicates`.
    """
    hashes = np.empty(len(table), dtype=np.uint64)
    for first in range(0, len(table), CHUNK_IDS):
        ids = [table.encoded(docno) for docno in range(first, min(first + CHUNK_IDS, len(table)))]
        problem = next((p for p in map(_id_problem, ids) if p), None)
        if problem:
            yield problem
            return
        hashes[first : first + len(ids)] = hash_ids(ids)
        if not table.may_hold(hashes[first : first + len(ids)]).all():
            yield "id_bloom does not hold every id"
            return
    yield from _order_problems(table, hashes)


def _id_problem(encoded: bytes) -> str | None:
    if not 1 <= len(encoded) <= limits.MAX_ID_BYTES:
        return f"an id has {len(encoded)} bytes, not 1 to {limits.MAX_ID_BYTES}"
    try:
        encoded.decode("utf-8")
    except UnicodeDecodeError:
        return f"the id {encoded!r} is not UTF-8"
    return None


def _order_problems(table: IdTable, hashes: U64) -> Iterator[str]:
    if not np.array_equal(np.sort(table.docnos), np.arange(len(table))):
        yield "id_docnos do not name each document once"
    elif not np.array_equal(hashes[table.docnos], table.hashes):
        yield "id_hashes are not the hashes of the ids"
