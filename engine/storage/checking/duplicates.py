"""Documents that are alive in more than one place, found in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..identifiers import IdTable

IDS_AT_A_TIME: Final = 1 << 21
"""Ids whose hashes are sorted together; the hashes are cut into ranges of about so many."""

Alive = NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a document: which segment of the list that was searched, and its docno."""

    segment: int
    docno: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A document that is alive more than once."""

    id: str
    places: tuple[Place, ...]


def duplicates(tables: Sequence[tuple[IdTable, Alive]]) -> Iterator[Duplicate]:
    """Documents that are alive more than once, in one of the segments or in several.

    Args:
        tables: the id table of each segment, and bool [n_documents] which of its documents are
            alive; None for all.
    """
    if not tables:
        return
    total = sum(len(table) for table, _ in tables)
    n_ranges = max(1, -(-total // IDS_AT_A_TIME))
    step = 2**64 // n_ranges
    for number in range(n_ranges):
        last = None if number == n_ranges - 1 else np.uint64((number + 1) * step)
        yield from _in_range(tables, np.uint64(number * step), last)


def _in_range(
    tables: Sequence[tuple[IdTable, Alive]], low: np.uint64, high: np.uint64 | None
) -> Iterator[Duplicate]:
    """The duplicates whose hashes lie in `[low, high)`."""
    slices = [_alive_slice(table, alive, low, high) for table, alive in tables]
    hashes = np.concatenate([part[0] for part in slices])
    docnos = np.concatenate([part[1] for part in slices])
    segments = np.repeat(np.arange(len(tables)), [len(part[0]) for part in slices])
    order = np.argsort(hashes, kind="stable")
    equal = hashes[order][1:] == hashes[order][:-1]
    edges = np.flatnonzero(np.diff(equal, prepend=False, append=False))
    for first, last in edges.reshape(-1, 2).tolist():
        rows = order[first : last + 1]
        places = [Place(int(segments[row]), int(docnos[row])) for row in rows]
        yield from _same_ids(tables, places)


def _alive_slice(
    table: IdTable, alive: Alive, low: np.uint64, high: np.uint64 | None
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    start = int(np.searchsorted(table.hashes, low))
    end = len(table) if high is None else int(np.searchsorted(table.hashes, high))
    hashes, docnos = table.hashes[start:end], table.docnos[start:end]
    if alive is None:
        return hashes, docnos
    kept = alive[docnos]
    return hashes[kept], docnos[kept]


def _same_ids(
    tables: Sequence[tuple[IdTable, Alive]], places: Sequence[Place]
) -> Iterator[Duplicate]:
    """Places of equal hashes, by the ids themselves."""
    by_id: dict[str, list[Place]] = {}
    for place in places:
        by_id.setdefault(tables[place.segment][0].id(place.docno), []).append(place)
    for id, found in by_id.items():
        if len(found) > 1:
            yield Duplicate(id, tuple(found))
