"""Merging segments into a new one: alive rows only, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..codec import BuildDevice
from ..errors import CorruptIndexError
from ..finite import all_finite
from .directory import Directory
from .manifest import CODED, SegmentRef
from .segment import SegmentView
from .segment_writer import LiveCodec, SegmentWriter, new_segment

CHUNK_TOKENS: Final = 1 << 17
"""Tokens that are copied at a time."""

REBUILT_BYTES: Final = 64 * 2**20
"""Float32 embeddings that are decompressed at a time."""

CHUNK_DOCUMENTS: Final = 1000
"""Documents that are copied at a time."""

I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Merged:
    """A new segment, and where the documents of its inputs went.

    Args:
        inputs: ids of the segments that were read.
        ref: the new segment; None where no row was alive.
        docnos: input id -> int64 [n_documents], the new docno of each document, -1 for dead ones.
    """

    inputs: tuple[str, ...]
    ref: SegmentRef | None
    docnos: Mapping[str, I64]


def merge(
    directory: Directory,
    views: Sequence[SegmentView],
    *,
    live: LiveCodec | None,
    recode: Collection[str] = (),
    threads: int = 0,
    unserved_by: str | None = None,
    device: BuildDevice | None = None,
) -> Merged:
    """Write the alive rows of segments into a new one.

    Args:
        directory: of the index.
        views: the inputs, in order; each stays as it is.
        live: the codec of the output, None for a flat one. What was coded in its epoch is copied;
            what was coded in another is decompressed and compressed again, which only 4 bits and
            more bear.
        recode: ids of inputs that are compressed again though they were coded in its epoch.
        threads: for compression; 0 is all cores.
        unserved_by: of inputs that are held and stay so.
        device: a GPU that compresses; None for the processor.

    Raises:
        CorruptIndexError: an input is damaged.
        StorageError: the disk refused.
        DeviceMemoryError, DeviceFailedError: a GPU that is required refused or failed.
    """
    docnos = _new_docnos(views)
    inputs = tuple(view.id for view in views)
    n_tokens = sum(view.n_alive_tokens for view in views)
    if n_tokens == 0:
        return Merged(inputs, None, docnos)
    with new_segment(
        directory,
        dim=views[0].dim,
        n_tokens=n_tokens,
        live=live,
        threads=threads,
        unserved_by=unserved_by,
        device=device,
    ) as output:
        for view in views:
            copied = live is not None and view.codec is live.codec and view.id not in recode
            _copy_tokens(view, output, copied=copied)
            _copy_documents(view, output)
            _copy_passages(view, docnos[view.id], output)
            # It leaves the few kept connections to those who search meanwhile.
            view.passages.rest()
    return Merged(inputs, output.ref, docnos)


def _new_docnos(views: Sequence[SegmentView]) -> dict[str, I64]:
    found: dict[str, I64] = {}
    count = 0
    for view in views:
        alive = alive_docnos(view)
        found[view.id] = np.full(view.n_documents, -1, dtype=np.int64)
        found[view.id][alive] = np.arange(count, count + len(alive))
        count += len(alive)
    return found


def alive_docnos(view: SegmentView) -> I64:
    """The documents of a segment that are alive, ascending."""
    if view.alive_documents is None:
        return np.arange(view.n_documents)
    return np.flatnonzero(view.alive_documents)


def _alive_pids(view: SegmentView) -> I64:
    alive = view.alive
    return np.arange(view.n_passages) if alive is None else np.flatnonzero(alive)


def _pid_chunks(view: SegmentView) -> Iterator[I64]:
    """Alive pids in pieces of about `CHUNK_TOKENS` tokens."""
    pids = _alive_pids(view)
    part = np.cumsum(view.doclens[pids], dtype=np.int64) // CHUNK_TOKENS
    edges = np.flatnonzero(np.diff(part)) + 1
    return (chunk for chunk in np.split(pids, edges) if len(chunk))


def _copy_tokens(view: SegmentView, output: SegmentWriter, *, copied: bool) -> None:
    for pids in _pid_chunks(view):
        if view.kind == CODED and copied:
            codes, residuals, inverse_norms = read_codes(view, pids)
            output.append_codes(codes, residuals, inverse_norms, view.files.ref)
        else:
            for rows in read_embeddings(view, pids):
                output.append_embeddings(rows)


def read_codes(view: SegmentView, pids: I64, tokens: I64 | None = None) -> list[NDArray[Any]]:
    """Codes, residuals and inverse norms of passages of a coded segment, checked.

    Args:
        view: the segment.
        pids: of the passages.
        tokens: some of their tokens, by number in the segment; None for all in order.

    Raises:
        CorruptIndexError: a block is not what was written, or a code not of the codec.
    """
    rows = _read(view, pids, tokens, "codes", "residuals", "inverse_norms")
    if int(rows[0].max()) >= view.files.ref.n_centroids:
        raise CorruptIndexError(f"Segment {view.id} holds a code that its codec does not have.")
    return rows


def read_embeddings(
    view: SegmentView, pids: I64, tokens: I64 | None = None
) -> Iterator[NDArray[np.floating[Any]]]:
    """The embeddings of passages of a segment, checked; of a coded one as they are rebuilt.

    Args:
        view: the segment.
        pids: of the passages.
        tokens: as in `read_codes`.

    Yields:
        float16 or float32 [n, dim], in the order of the pids, or of the tokens.
    """
    if view.kind != CODED:
        (rows,) = _read(view, pids, tokens, "embeddings")
        if not all_finite(rows):
            raise CorruptIndexError(f"Segment {view.id} holds embeddings with NaN or infinity.")
        yield rows
        return
    if view.codec is None:
        raise CorruptIndexError(f"Segment {view.id} is compressed but the index has no codec.")
    codes, residuals, inverse_norms = read_codes(view, pids, tokens)
    step = max(1, REBUILT_BYTES // (4 * view.dim))
    for start in range(0, len(codes), step):
        part = slice(start, start + step)
        yield view.codec.decompress(codes[part], residuals[part], inverse_norms[part])


def _read(view: SegmentView, pids: I64, tokens: I64 | None, *names: str) -> list[NDArray[Any]]:
    starts, ends = view.offsets[pids], view.offsets[pids + 1]
    for name in names:
        view.touch(name, starts, ends)
    rows = token_rows(starts, ends) if tokens is None else tokens
    return [getattr(view, name)[rows] for name in names]


def token_rows(starts: I64, ends: I64) -> slice | I64:
    """The rows of token ranges `[start, end)`: a slice where they follow each other."""
    if (starts[1:] == ends[:-1]).all():
        return slice(int(starts[0]), int(ends[-1]))
    counts = ends - starts
    firsts = np.cumsum(counts) - counts
    rows: I64 = np.arange(int(counts.sum())) + np.repeat(starts - firsts, counts)
    return rows


def _copy_documents(view: SegmentView, output: SegmentWriter) -> None:
    docnos = alive_docnos(view)
    for start in range(0, len(docnos), CHUNK_DOCUMENTS):
        part = docnos[start : start + CHUNK_DOCUMENTS]
        output.append_documents(view.passages.documents(part), sequences_of(view, part))


def sequences_of(view: SegmentView, docnos: I64) -> NDArray[np.uint64]:
    """The sequence of each document: its own, or that of its segment.

    Raises:
        CorruptIndexError: a block is not what was written, or a sequence above the segment's.
    """
    stored = view.files.sequences
    if stored is None:
        return np.full(len(docnos), view.files.ref.sequence, dtype=np.uint64)
    view.touch("sequences", docnos, docnos + 1)
    chosen: NDArray[np.uint64] = stored[docnos]
    if len(chosen) and int(chosen.max()) > view.files.ref.sequence:
        raise CorruptIndexError(f"Segment {view.id} holds a sequence beyond its own.")
    return chosen


def _copy_passages(view: SegmentView, new_docnos: I64, output: SegmentWriter) -> None:
    for pids in _pid_chunks(view):
        spans, ordinals = view.passages.spans(pids)
        docnos: NDArray[Any] = new_docnos[view.passage_document[pids]]
        output.append_passages(docnos, ordinals, spans, view.doclens[pids])
