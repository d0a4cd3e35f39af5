"""Explains a document's score from the vectors that the index holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoder.base import Token
from .errors import CorruptIndexError
from .identity import EncoderSlot
from .search.explain import Explanation, explain
from .search.segments import refusals_of
from .storage.segment import SegmentView

FloatArray = NDArray[np.float32]


def explain_document(
    query: str | NDArray[Any],
    vectors: FloatArray,
    segment: SegmentView,
    docno: int,
    encoder: EncoderSlot,
) -> Explanation:
    """Match query tokens with those of the document's best passage.

    Args:
        query: the text, or the vectors that were handed in.
        vectors: float32 [nq, dim], the query's.
        segment: holds the document.
        docno: its number there.
        encoder: names the tokens, where the index has one.

    Returns:
        Spans are characters of the document's text. Vectors that no text stands behind are
        named by their row, with an empty span.
    """
    pids = np.flatnonzero(segment.passage_document == docno)
    passages = [passage_vectors(segment, int(pid)) for pid in pids]
    scores = [float((vectors @ passage.T).max(axis=1).sum()) for passage in passages]
    best = int(np.argmax(scores))
    spans, _ = segment.passages.spans(pids[best : best + 1].astype(np.uint32))
    text = segment.passages.document(docno).text
    start, end = (int(value) for value in spans[0])
    query_tokens = _query_tokens(query, len(vectors), encoder)
    passage_tokens = _passage_tokens(text[start:end], start, len(passages[best]), encoder)
    return explain(query_tokens, vectors, passage_tokens, passages[best])


def passage_vectors(segment: SegmentView, pid: int) -> FloatArray:
    """The vectors of a passage as the index holds them, float32 [n, dim].

    Args:
        segment: holds the passage.
        pid: its number there.

    Raises:
        CorruptIndexError: they are not what was written.
    """
    rows = slice(int(segment.offsets[pid]), int(segment.offsets[pid + 1]))
    start, end = np.array([rows.start]), np.array([rows.stop])
    if segment.kind == "flat":
        segment.touch("embeddings", start, end)
        return segment.embeddings[rows].astype(np.float32)
    if segment.codec is None:
        raise CorruptIndexError(f"Segment {segment.id} is compressed but the index has no codec.")
    for name in ("codes", "residuals", "inverse_norms"):
        segment.touch(name, start, end)
    with refusals_of(segment):
        return segment.codec.decompress(
            segment.codes[rows], segment.residuals[rows], segment.inverse_norms[rows]
        )


def _query_tokens(query: str | NDArray[Any], n: int, encoder: EncoderSlot) -> Sequence[Token]:
    if isinstance(query, str):
        return encoder.get().query_tokens(query)
    return _unnamed(n)


def _passage_tokens(text: str, start: int, n: int, encoder: EncoderSlot) -> Sequence[Token]:
    """The tokens with spans in the whole document; unnamed where other vectors were stored."""
    if encoder.record() is None or not text:
        return _unnamed(n)
    tokens = encoder.get().passage_tokens(text)
    if len(tokens) != n:
        return _unnamed(n)
    return [Token(t.text, t.start + start, t.end + start) for t in tokens]


def _unnamed(n: int) -> list[Token]:
    return [Token(f"[{row}]", 0, 0) for row in range(n)]
