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
from .merge import CHUNK_DOCUMENTS, alive_docnos, read_embeddings, token_rows
from .segment import SegmentView

Encode = Callable[[Sequence[Document]], Iterable[EncodedBatch]]
"""Splits and encodes documents with text as they were when they were added."""

LEAST_COSINE: Final = 0.5
"""Mean cosine of a passage's encoded embeddings with those it keeps.

Measured with MiniLM's vectors and a codec trained on SciFact: the worst passage of SciFact,
Cranfield, CISI and Vaswani is rebuilt with 0.61 from 1 bit and 0.81 from 2, whereas embeddings of
two passages have 0.06 to 0.22 in the mean.
"""

I64 = NDArray[np.int64]


class NotFromTextError(Exception):
    """A document keeps embeddings that its text does not give; maintenance leaves it as it is."""


def encoded(view: SegmentView, docnos: I64, encode: Encode) -> Iterator[tuple[I64, EncodedBatch]]:
    """Encode documents of a segment again, a bounded batch at a time.

    Args:
        view: the segment.
        docnos: of documents in it, ascending.
        encode: with the index's encoder.

    Yields:
        The docnos of a batch, and the batch.

    Raises:
        NotFromTextError: a document's passages or embeddings are not those of its text.
    """
    for start in range(0, len(docnos), CHUNK_DOCUMENTS):
        part = docnos[start : start + CHUNK_DOCUMENTS]
        done = 0
        for batch in encode(view.passages.documents(part)):
            some = part[done : done + len(batch.documents)]
            done += len(some)
            _require_same(view, some, batch)
            yield some, batch
        view.passages.rest()


def _require_same(view: SegmentView, docnos: I64, batch: EncodedBatch) -> None:
    pids = _pids(view, docnos)
    same = len(pids) == batch.n_passages and np.array_equal(view.doclens[pids], batch.doclens)
    if same:
        spans, _ = view.passages.spans(pids)
        same = np.array_equal(spans, batch.spans)
    if not same:
        raise NotFromTextError(
            f"Segment {view.id}: passages are cut otherwise than the encoder cuts their text."
        )
    cosines = _cosines(view, pids, batch)
    if cosines.min() < LEAST_COSINE:
        worst = batch.documents[int(batch.passage_document[int(cosines.argmin())])]
        raise NotFromTextError(
            f"Document {worst.id!r} keeps embeddings that its text does not give."
        )


def _pids(view: SegmentView, docnos: I64) -> I64:
    """The passages of documents, in their order."""
    starts = np.searchsorted(view.passage_document, docnos, side="left")
    ends = np.searchsorted(view.passage_document, docnos, side="right")
    rows = token_rows(starts, ends)
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def _cosines(view: SegmentView, pids: I64, batch: EncodedBatch) -> NDArray[np.float32]:
    """float32 [P]: of each passage, the mean cosine of its embeddings with those it keeps."""
    dots = np.empty(batch.n_tokens, dtype=np.float32)
    done = 0
    for rows in read_embeddings(view, pids):
        part = slice(done, done + len(rows))
        dots[part] = np.einsum("ij,ij->i", rows, batch.embeddings[part].astype(np.float32))
        done += len(rows)
    firsts = np.concatenate(([0], np.cumsum(batch.doclens, dtype=np.int64)[:-1]))
    sums = np.add.reduceat(dots, firsts)
    return (sums / batch.doclens).astype(np.float32)


def encoded_sample(
    views: Sequence[SegmentView], encode: Encode, *, seed: int = 0
) -> NDArray[np.float32]:
    """What `training_sample` gives, made from the text of randomly drawn documents.

    Raises:
        NotFromTextError: a document's passages or embeddings are not those of its text.
    """
    alive = [alive_docnos(view) for view in views]
    n_passages = sum(view.n_alive_passages for view in views)
    n_documents = sum(len(docnos) for docnos in alive)
    passage_bytes = 4.0 * views[0].dim * sum(v.n_alive_tokens for v in views) / n_passages
    share = sample_passages(n_passages, passage_bytes=passage_bytes) / n_passages
    wanted = max(1, round(share * n_documents))
    chosen = np.sort(np.random.default_rng(seed).choice(n_documents, wanted, replace=False))
    firsts = np.cumsum([0, *(len(docnos) for docnos in alive)])
    rows: list[NDArray[np.float32]] = []
    for view, docnos, first in zip(views, alive, firsts, strict=False):
        inside = chosen[(chosen >= first) & (chosen < first + len(docnos))] - first
        for _, batch in encoded(view, docnos[inside], encode):
            rows.append(batch.embeddings.astype(np.float32))
    sample = np.concatenate(rows)
    return sample[: max(1, SAMPLE_BYTES // (4 * views[0].dim))]
