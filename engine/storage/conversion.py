"""Conversion: segments take the form of the live codec, a bounded part at a time.

Each part is a commit of its own. What is converted of a large segment dies in it by rows, as if
it had been replaced, so that a conversion which was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .batch import EncodedBatch
from .encoding import PROBED, Encode, NotFromTextError, encoded, not_from_text
from .merge import Merged, alive_docnos, sequences_of
from .replacement import Replacement
from .segment import SegmentView
from .segment_writer import LiveCodec, new_segment
from .targets import Source, Target

STEP_TOKENS: Final = 1 << 22
"""Embeddings that are converted in one commit; a document more, where it has many."""

ENCODED_STEP_TOKENS: Final = 1 << 20
"""The same where they come from text: what an interrupt loses takes long to make again."""

PROBED_FROM: Final = 8 * PROBED
"""Documents of a part above which some are tried first: what was found to stay is found so again
by each run, and must not cost it the encoding of everything."""

I64 = NDArray[np.int64]


def due_for_conversion(
    views: Sequence[SegmentView], targets: Mapping[str, Target], *, max_passages: int
) -> list[SegmentView]:
    """The next segments that are to be converted together, in one commit.

    Args:
        views: in the order of the index.
        targets: by id.
        max_passages: alive ones of a new segment.

    Returns:
        The first segment that is to be converted, and those behind it that are converted alike
        while they stay within the bounds; nothing if all have their form.
    """
    chosen: list[SegmentView] = []
    n_tokens = n_passages = 0
    for view in views:
        target = targets[view.id]
        if not chosen and not target.converts:
            continue
        if chosen and (not target.converts or target.source is not targets[chosen[0].id].source):
            break
        n_tokens += view.n_alive_tokens
        n_passages += view.n_alive_passages
        if chosen and (n_tokens > _step(target) or n_passages > max_passages):
            break
        chosen.append(view)
        if target.source is Source.TEXT:
            break
    return chosen


def convert(work: Replacement, views: Sequence[SegmentView], targets: Mapping[str, Target]) -> None:
    """Write what `due_for_conversion` chose, or the first part of it, in its new form.

    Args:
        work: takes the new segments.
        views: as chosen; from what they keep, not from text.
        targets: by id.
    """
    first = views[0]
    docnos = _first_documents(first, alive_docnos(first), _step(targets[first.id]))
    if len(docnos) < first.n_alive_documents:
        views = [_part(first, docnos)]
        work.keep_rest(first)
    work.merge(views, targets)


class TextConversion:
    """The conversion of one segment from its text: part by part, each once in a run.

    Documents that keep other embeddings than their text gives stay in the segment, and the parts
    behind them follow all the same.

    Args:
        encode: with the index's encoder.
        seed: of the documents that are tried first.

    Attributes:
        stays: in words, the first document that was found to stay; "" while there is none.
    """

    def __init__(self, encode: Encode, seed: Sequence[int]) -> None:
        self.stays = ""
        self._encode = encode
        self._random = np.random.default_rng(seed)
        self._next = self._end = 0

    def is_over(self, view: SegmentView) -> bool:
        """Whether all that is still alive in the segment was found to stay."""
        return bool(view.n_alive_documents) and not len(self._untried(view))

    def write(self, work: Replacement, view: SegmentView, live: LiveCodec | None) -> None:
        """Write the next part; `advance` once it was committed, or if there is nothing in it.

        Raises:
            NotFromTextError: none of its documents follows.
        """
        docnos = _first_documents(view, self._untried(view), ENCODED_STEP_TOKENS)
        self._end = int(docnos[-1]) + 1
        if len(docnos) < view.n_alive_documents:
            work.keep_rest(view)
        if len(docnos) <= PROBED_FROM or self._is_promising(view, docnos):
            self._write(work, view, docnos, live)
        if not work.merged:
            raise self._staying(view, docnos)

    def advance(self) -> None:
        """Go on behind the part that was tried last."""
        self._next = self._end

    def _untried(self, view: SegmentView) -> I64:
        docnos = alive_docnos(view)
        return docnos[np.searchsorted(docnos, self._next) :]

    def _is_promising(self, view: SegmentView, docnos: I64) -> bool:
        """Whether some of a few documents keep the embeddings that their text gives."""
        tried = np.sort(self._random.choice(docnos, PROBED, replace=False))
        return any(batch is not None for _, batch, _ in encoded(view, tried, self._encode))

    def _write(
        self, work: Replacement, view: SegmentView, docnos: I64, live: LiveCodec | None
    ) -> None:
        for some, batch, others in encoded(view, docnos, self._encode):
            if batch is not None:
                work.put(_write(work, view, some, batch, live))
            if len(others):
                work.keep_rest(view)
                self._staying(view, others)

    def _staying(self, view: SegmentView, docnos: I64) -> NotFromTextError:
        error = not_from_text(view, docnos)
        self.stays = self.stays or str(error)
        return error


def _step(target: Target) -> int:
    return ENCODED_STEP_TOKENS if target.source is Source.TEXT else STEP_TOKENS


def _first_documents(view: SegmentView, docnos: I64, n_tokens: int) -> I64:
    """The first of some documents, with about so many embeddings; at least one if there is one."""
    sizes = np.bincount(view.passage_document, weights=view.doclens, minlength=view.n_documents)
    fitting = int(np.searchsorted(np.cumsum(sizes[docnos]), n_tokens, side="left")) + 1
    return docnos[:fitting]


def _part(view: SegmentView, docnos: I64) -> SegmentView:
    """A segment as if only some of its documents were alive."""
    alive = np.zeros(view.n_documents, dtype=np.bool_)
    alive[docnos] = True
    return SegmentView(view.files, alive, view.codec)


def _write(
    work: Replacement, view: SegmentView, docnos: I64, batch: EncodedBatch, live: LiveCodec | None
) -> Merged:
    """A new segment of a batch of documents that were encoded again."""
    moved = np.full(view.n_documents, -1, dtype=np.int64)
    moved[docnos] = np.arange(len(docnos))
    with new_segment(
        work.writer.directory,
        dim=batch.dim,
        n_tokens=batch.n_tokens,
        live=live,
        threads=work.writer.threads,
        device=work.writer.device,
    ) as segment:
        segment.append_embeddings(batch.embeddings)
        segment.append_documents(batch.documents, sequences_of(view, docnos))
        segment.append_passages(
            batch.passage_document, batch.ordinals(), batch.spans, batch.doclens
        )
    return Merged((view.id,), segment.ref, {view.id: moved})
