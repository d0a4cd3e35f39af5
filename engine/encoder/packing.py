"""Lays token sequences of different lengths side by side, as a backbone takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tokenization import TokenSequence


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequences:
    """A batch for a backbone.

    Args:
        ids: int64 [batch, length]: token numbers, shorter sequences filled with padding.
        attention: bool [batch, length]: the tokens that others may look at.
        rows: int64 [kept]: positions in the flattened batch whose vectors are kept, sequence
            after sequence.
        counts: kept vectors of each sequence.
    """

    ids: NDArray[np.int64]
    attention: NDArray[np.bool_]
    rows: NDArray[np.int64]
    counts: list[int]


def pack(sequences: Sequence[TokenSequence], padding: int) -> PackedSequences:
    """Put sequences into one batch, padded with the token number `padding`."""
    length = max(len(one.ids) for one in sequences)
    counts = [len(one.kept) for one in sequences]
    ids = np.full((len(sequences), length), padding, dtype=np.int64)
    attention = np.zeros((len(sequences), length), dtype=bool)
    rows = np.empty(sum(counts), dtype=np.int64)
    filled = 0
    for number, one in enumerate(sequences):
        ids[number, : len(one.ids)] = one.ids
        attention[number, : one.attended] = True
        rows[filled : filled + len(one.kept)] = one.kept
        rows[filled : filled + len(one.kept)] += number * length
        filled += len(one.kept)
    return PackedSequences(ids, attention, rows, counts)
