"""Embeddings from a segment's texts, held against those that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..codec import sample_passages
from ..codec.training import SAMPLE_BYTES
from ..documents import Document
from .batch import EncodedBatch
from .merge import CHUNK_DOCUMENTS, alive_docnos, read_embeddings
from .segment import SegmentView

Encode = Callable[[Sequence[Document]], Iterable[EncodedBatch]]
"""Splits and encodes documents with text as they were when they were added."""

LEAST_COSINE: Final = 0.5
"""Mean cosine of a passage's encoded embeddings with those it keeps.

Measured with MiniLM's vectors and a codec trained on SciFact: the worst passage of SciFact,
Cranfield, CISI and Vaswani is rebuilt with 0.61 from 1 bit and 0.81 from 2, whereas embeddings of
two passages have 0.06 to 0.22 in the mean.
"""

PROBED: Final = 32
"""Documents drawn at random that are encoded before many are, to see whether it is in vain."""

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


class NotFromTextError(Exception):
    """A document keeps embeddings that its text does not give; maintenance leaves it as it is."""


def encoded(
    view: SegmentView, docnos: I64, encode: Encode
) -> Iterator[tuple[I64, EncodedBatch | None, I64]]:
    """Encode documents of a segment again, a bounded batch at a time.

    Args:
        view: the segment.
        docnos: of documents in it, ascending.
        encode: with the index's encoder.

    Yields:
        Docnos and their batch (None where there are none), and docnos of documents that keep
        other embeddings than their text gives.
    """
    for start in range(0, len(docnos), CHUNK_DOCUMENTS):
        part = docnos[start : start + CHUNK_DOCUMENTS]
        done = 0
        for batch in encode(view.passages.documents(part)):
            some = part[done : done + len(batch.documents)]
            done += len(some)
            faithful = _faithful(view, some, batch)
            yield some[faithful], selected(batch, faithful), some[~faithful]
        view.passages.rest()


def _faithful(view: SegmentView, docnos: I64, batch: EncodedBatch) -> Mask:
    """bool [D]: which documents were cut and encoded as the segment keeps them."""
    alike = _cut_alike(view, docnos, batch)
    kept = selected(batch, alike)
    if kept is None:
        return alike
    firsts = np.flatnonzero(np.diff(kept.passage_document.astype(np.int64), prepend=-1))
    least = np.minimum.reduceat(_cosines(view, docnos[alike], kept), firsts)
    alike[alike] = least >= LEAST_COSINE
    return alike


def _cut_alike(view: SegmentView, docnos: I64, batch: EncodedBatch) -> Mask:
    stored = _ranges(view.passage_document, docnos)
    made = _ranges(batch.passage_document, np.arange(len(docnos)))
    alike = np.zeros(len(docnos), dtype=np.bool_)
    for number, (old, new) in enumerate(zip(stored, made, strict=True)):
        spans, _ = view.passages.spans(range(old.start, old.stop))
        alike[number] = np.array_equal(spans, batch.spans[new]) and np.array_equal(
            view.doclens[old], batch.doclens[new]
        )
    return alike


def _ranges(passage_document: NDArray[np.uint32], docnos: I64) -> list[slice]:
    """The passages of each document, which are neighbours."""
    starts = np.searchsorted(passage_document, docnos, side="left").tolist()
    ends = np.searchsorted(passage_document, docnos, side="right").tolist()
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]


def _cosines(view: SegmentView, docnos: I64, batch: EncodedBatch) -> NDArray[np.float32]:
    """float32 [P]: of each passage, the mean cosine of its embeddings with those it keeps."""
    parts = [np.arange(r.start, r.stop) for r in _ranges(view.passage_document, docnos)]
    dots = np.empty(batch.n_tokens, dtype=np.float32)
    done = 0
    for rows in read_embeddings(view, np.concatenate(parts)):
        part = slice(done, done + len(rows))
        dots[part] = np.einsum("ij,ij->i", rows, batch.embeddings[part].astype(np.float32))
        done += len(rows)
    firsts = np.concatenate(([0], np.cumsum(batch.doclens, dtype=np.int64)[:-1]))
    return (np.add.reduceat(dots, firsts) / batch.doclens).astype(np.float32)


def selected(batch: EncodedBatch, chosen: Mask) -> EncodedBatch | None:
    """A batch of some of its documents; None of none.

    Args:
        batch: stays as it is.
        chosen: bool [D].
    """
    if chosen.all():
        return batch
    if not chosen.any():
        return None
    passages = chosen[batch.passage_document]
    numbers = np.cumsum(chosen) - 1
    return EncodedBatch(
        documents=[d for d, wanted in zip(batch.documents, chosen, strict=True) if wanted],
        passage_document=numbers[batch.passage_document[passages]].astype(np.uint32),
        spans=batch.spans[passages],
        doclens=batch.doclens[passages],
        embeddings=batch.embeddings[np.repeat(passages, batch.doclens)],
    )


def not_from_text(view: SegmentView, docnos: I64) -> NotFromTextError:
    """The error that names the first of some documents."""
    id = view.passages.id_table.id(int(docnos[0]))
    return NotFromTextError(f"document {id!r} keeps embeddings that its text does not give")


def encoded_sample(
    views: Sequence[SegmentView], encode: Encode, *, seed: int = 0
) -> NDArray[np.float16]:
    """What `training_sample` gives, made from the text of randomly drawn documents.

    Raises:
        NotFromTextError: a document keeps other embeddings than its text gives: its segment
            could never follow into another epoch.
    """
    alive = [alive_docnos(view) for view in views]
    n_passages = sum(view.n_alive_passages for view in views)
    n_documents = sum(len(docnos) for docnos in alive)
    passage_bytes = 4.0 * views[0].dim * sum(v.n_alive_tokens for v in views) / n_passages
    share = sample_passages(n_passages, passage_bytes=passage_bytes) / n_passages
    wanted = max(1, round(share * n_documents))
    chosen = np.random.default_rng(seed).choice(n_documents, wanted, replace=False)
    rows: list[NDArray[np.float16]] = []
    for some in (chosen[:PROBED], chosen[PROBED:]):
        for view, docnos in _drawn(views, alive, np.sort(some)):
            rows += _rows(view, docnos, encode)
    sample = np.concatenate(rows)
    return sample[: max(1, SAMPLE_BYTES // (4 * views[0].dim))]


def _drawn(
    views: Sequence[SegmentView], alive: Sequence[I64], chosen: I64
) -> Iterator[tuple[SegmentView, I64]]:
    """The documents with these numbers, ascending, where those that are alive are counted."""
    firsts = np.cumsum([0, *(len(docnos) for docnos in alive)])
    bounds = np.searchsorted(chosen, firsts)
    for view, docnos, first, start, end in zip(
        views, alive, firsts, bounds, bounds[1:], strict=False
    ):
        yield view, docnos[chosen[start:end] - first]


def _rows(view: SegmentView, docnos: I64, encode: Encode) -> Iterator[NDArray[np.float16]]:
    for _, batch, others in encoded(view, docnos, encode):
        if len(others):
            raise not_from_text(view, others)
        if batch is not None:
            yield batch.embeddings.astype(np.float16)
