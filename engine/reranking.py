"""MaxSim between a query and texts that are in no index: what rerankers need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .encoder.base import Encoder, FloatArray
from .errors import InvalidDocumentError
from .shown import shown
from .validation import check_query_text, check_threads

GROUP_CHARACTERS = 2**18
"""Text that is encoded at a time: with 768 dimensions about 200 MB of vectors."""


def score_texts(
    encoder: Encoder, query: str, texts: Sequence[str], *, threads: int = 0
) -> NDArray[np.float32]:
    """Score each text against a query, as a search of an exact index would.

    A text longer than the encoder reads is split into overlapping passages, and its best passage
    counts: nothing is truncated.

    Args:
        encoder: for both sides.
        query: some words.
        texts: any number; one without words has its markers' score.
        threads: for MaxSim; 0 is all cores. The encoder's are PyTorch's.

    Returns:
        float32 [texts], at most the number of query vectors each.

    Raises:
        InvalidQueryError: an empty query, or one of another type.
        InvalidDocumentError: a text is no string.
        InvalidParameterError: threads out of range.

    Source: Khattab and Zaharia 2020 (ColBERT), section 3.3 (MaxSim).
    """
    check_query_text(query)
    check_threads(threads)
    for text in texts:
        _check_text(text)
    scores = np.empty(len(texts), dtype=np.float32)
    if not len(texts):
        return scores
    vectors = np.ascontiguousarray(encoder.encode_queries([query])[0], dtype=np.float32)
    for first, last in _groups(texts):
        scores[first:last] = _score_group(encoder, vectors, texts[first:last], threads)
    return scores


def _score_group(
    encoder: Encoder, query: FloatArray, texts: Sequence[str], threads: int
) -> NDArray[np.float32]:
    found = encoder.split_many(list(texts))
    spans = [parts or [(0, len(text))] for text, parts in zip(texts, found, strict=True)]
    passages = [text[a:b] for text, parts in zip(texts, spans, strict=True) for a, b in parts]
    # In groups again: one text alone may be longer than memory has room for as vectors.
    scores = np.concatenate(
        [_maxsim(encoder, query, passages[a:b], threads) for a, b in _groups(passages)]
    )
    firsts = np.cumsum([0, *map(len, spans)])[:-1]
    best: NDArray[np.float32] = np.maximum.reduceat(scores, firsts)
    return best


def _maxsim(
    encoder: Encoder, query: FloatArray, passages: list[str], threads: int
) -> NDArray[np.float32]:
    arrays = encoder.encode_passages(passages)
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    embeddings = np.ascontiguousarray(np.concatenate(arrays), dtype=np.float32)
    return kernels.maxsim(query, embeddings, offsets, threads=threads)


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of texts of about `GROUP_CHARACTERS`, at least one text each."""
    first = size = 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= GROUP_CHARACTERS:
            yield first, number + 1
            first, size = number + 1, 0
    if first < len(texts):
        yield first, len(texts)


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InvalidDocumentError(
            f"{shown(text)} is a {type(text).__name__}: only strings can be scored."
        )
