"""The structure of a segment's arrays, beyond what opening the segment checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..inverted_lists import InvertedLists
from ..manifest import CODED
from ..segment_files import SegmentFiles

CHUNK_BYTES: Final = 32 * 2**20
"""Bytes of an array that are looked at at a time."""


def array_problems(files: SegmentFiles, *, lists: bool = True) -> Iterator[str]:
    """What is wrong with the token arrays and sequences of a segment, in words.

    Args:
        files: open, every byte checked.
        lists: check codes and inverted lists; only where the segment's K is that of a codec
            which was read, since the lists take memory for each centroid.
    """
    if files.ref.kind == CODED:
        yield from _code_problems(files) if lists else ()
    else:
        yield from _embedding_problems(files)
    yield from _sequence_problems(files)


def _embedding_problems(files: SegmentFiles) -> Iterator[str]:
    for first, rows in _chunks(files.embeddings):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            yield f"embedding {first + int(bad[0])} holds NaN or infinity"
            return


def _code_problems(files: SegmentFiles) -> Iterator[str]:
    n_centroids = files.ref.n_centroids
    for first, codes in _chunks(files.codes):
        bad = np.flatnonzero(codes >= n_centroids)
        if len(bad):
            token = first + int(bad[0])
            yield f"code {int(codes[bad[0]])} of embedding {token} is not below {n_centroids}"
            # Lists cannot be made of such codes.
            return
    yield from _list_problems(files)


def _list_problems(files: SegmentFiles) -> Iterator[str]:
    """The inverted lists are exactly those that the codes give."""
    lists = InvertedLists(_reader(files.codes), files.doclens, files.ref.n_centroids)
    lengths = np.diff(files.ivf_offsets)
    filled = lists.lengths if files.ivf_centroids is None else lists.lengths[files.ivf_centroids]
    if not np.array_equal(lengths, filled) or lengths.sum() != lists.n_entries:
        yield "ivf_lengths are not those of the codes"
        return
    start = 0
    for pids in lists.chunks():
        found = files.ivf_pids[start : start + len(pids)]
        bad = np.flatnonzero(found != pids)
        if len(bad):
            yield f"ivf_pids: entry {start + int(bad[0])} is not the pid that the codes give"
            return
        start += len(pids)


def _reader(codes: NDArray[Any]) -> Any:
    return lambda first, last: codes[first:last]


def _sequence_problems(files: SegmentFiles) -> Iterator[str]:
    stored = files.sequences
    if stored is not None and len(stored) and int(stored.max()) > files.ref.sequence:
        yield f"sequences go up to {int(stored.max())}, beyond the segment's {files.ref.sequence}"


def _chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows in pieces, each with the number of its first."""
    rows = max(1, CHUNK_BYTES * len(array) // max(1, array.nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]
