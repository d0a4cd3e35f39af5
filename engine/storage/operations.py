"""The rule of order: of all operations on a document id, the one with the highest sequence wins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DuplicateDocumentError
from .generation import find_alive
from .identifiers import IdQuery
from .merge import sequences_of
from .reader import Snapshot
from .segment import SegmentView

DELETE: Final = -1
"""Stands for a segment where the operation is a deletion."""


class Operation(NamedTuple):
    """What a change does to one document id: row `docno` of its n-th segment, or a deletion."""

    sequence: int
    segment: int
    docno: int


@dataclass(frozen=True, slots=True)
class Present:
    """What a generation holds of some ids.

    Args:
        alive: id -> (position of the segment, docno), of those that are in the index.
        sequences: id -> the sequence of its row or of its deletion, whichever is higher.
    """

    alive: Mapping[str, tuple[int, int]]
    sequences: Mapping[str, int]


def look_up(base: Snapshot, query: IdQuery) -> Present:
    """Find ids, and which change was the last on each, in all segments and tombstones."""
    alive = find_alive(base.segments, query)
    sequences = _row_sequences(base.segments, alive)
    for part in base.tombstones:
        for id in query.ids if part.ids else ():
            if part.ids.get(id, 0) > sequences.get(id, 0):
                sequences[id] = part.ids[id]
    return Present(alive, sequences)


def _row_sequences(
    segments: Sequence[SegmentView], alive: Mapping[str, tuple[int, int]]
) -> dict[str, int]:
    """The sequences of rows, read from each segment at once."""
    grouped: dict[int, dict[str, int]] = {}
    for id, (position, docno) in alive.items():
        grouped.setdefault(position, {})[id] = docno
    found: dict[str, int] = {}
    for position, docnos in grouped.items():
        numbers = sequences_of(segments[position], np.array([*docnos.values()]))
        found.update(zip(docnos, numbers.tolist(), strict=True))
    return found


def last_operations(
    rows: Iterable[tuple[Sequence[str], Iterable[int]]],
    delete: Mapping[str, int],
    applied: Collection[int] = frozenset(),
) -> dict[str, Operation]:
    """The operation of a change that counts for each id.

    Args:
        rows: of each staged segment the ids and sequences, by docno.
        delete: id -> sequence; of a row and a deletion of the same sequence the row counts.
        applied: sequences whose operations are left out. They are none to choose from: one that
            was given up, and so applied without its content, would hide an older one.

    Raises:
        DuplicateDocumentError: two rows of an id have the same sequence.
    """
    last: dict[str, Operation] = {}
    for number, (ids, sequences) in enumerate(rows):
        for docno, (id, sequence) in enumerate(zip(ids, sequences, strict=True)):
            if sequence in applied:
                continue
            other = last.get(id)
            if other is None or other.sequence < sequence:
                last[id] = Operation(sequence, number, docno)
            elif other.sequence == sequence:
                raise DuplicateDocumentError(
                    f"Document id {id!r} stands twice in change {sequence}: keep one of the two."
                )
    for id, sequence in delete.items():
        if sequence not in applied and (id not in last or last[id].sequence < sequence):
            last[id] = Operation(sequence, DELETE, 0)
    return last


def effective(operations: Mapping[str, Operation], present: Present) -> dict[str, Operation]:
    """The operations that did not come too late: what is there is neither younger nor the same."""
    return {
        id: operation
        for id, operation in operations.items()
        if operation.sequence > present.sequences.get(id, 0)
    }


def born_dead(
    operations: Iterable[Operation], n_documents: Sequence[int]
) -> list[NDArray[np.uint32]]:
    """Of each staged segment the docnos, sorted, of rows that none of the operations is."""
    alive = [np.zeros(n, dtype=np.bool_) for n in n_documents]
    for _, segment, docno in operations:
        if segment != DELETE:
            alive[segment][docno] = True
    return [np.flatnonzero(~rows).astype(np.uint32) for rows in alive]
