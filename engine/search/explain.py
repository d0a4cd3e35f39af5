"""Why a passage scored what it did: for each query token, the passage token that it met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..encoder.base import Token
from ..errors import CorruptIndexError, DimensionMismatchError, InvalidEmbeddingError

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Match:
    """One query token and the passage token that answers it best.

    Args:
        query_token: the token behind the query vector.
        passage_token: the token whose vector has the highest dot product with it.
        start, end: the passage token's characters `[start, end)`; empty for markers.
        contribution: that dot product, what the pair adds to the score; may be negative.
    """

    query_token: Token
    passage_token: Token
    start: int
    end: int
    contribution: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A MaxSim score taken apart.

    Args:
        matches: one per query token, in the query's order.
        total: the sum of their contributions: the score.
    """

    matches: tuple[Match, ...]
    total: float


def explain(
    query_tokens: Sequence[Token],
    query: FloatArray,
    passage_tokens: Sequence[Token],
    passage: NDArray[np.floating],
) -> Explanation:
    """Match each query token with the passage token that MaxSim takes for it.

    Args:
        query_tokens: the tokens behind the rows of `query`.
        query: float32 [nq, dim].
        passage_tokens: the tokens behind the rows of `passage`; their spans are passed on.
        passage: float32 or float16 [n, dim], n at least 1, stored or reconstructed.

    Returns:
        The matches and their sum; between equal passage tokens the first is taken.

    Raises:
        InvalidEmbeddingError: tokens and vectors differ in number, or the passage has none.
        DimensionMismatchError: query and passage have different dim.
        CorruptIndexError: a score is not finite, which unit vectors cannot give.

    Source: Khattab and Zaharia 2020 (ColBERT), section 3.3 (MaxSim).
    """
    _check("query", query_tokens, query)
    _check("passage", passage_tokens, passage)
    if query.shape[1] != passage.shape[1]:
        raise DimensionMismatchError(
            f"The query has dim {query.shape[1]}, the passage {passage.shape[1]}: "
            "use the encoder that made the index."
        )
    similarity = query.astype(np.float32) @ passage.astype(np.float32).T
    if not np.isfinite(similarity).all():
        raise CorruptIndexError(
            "A passage's vectors are too long to be scored: restore the index from a copy."
        )
    met = similarity.argmax(axis=1)
    matches = tuple(
        _match(token, passage_tokens[column], float(similarity[row, column]))
        for row, (token, column) in enumerate(zip(query_tokens, met.tolist(), strict=True))
    )
    return Explanation(matches, math.fsum(match.contribution for match in matches))


def _match(query_token: Token, passage_token: Token, contribution: float) -> Match:
    start, end = passage_token.start, passage_token.end
    return Match(query_token, passage_token, start, end, contribution)


def _check(name: str, tokens: Sequence[Token], vectors: NDArray[np.floating]) -> None:
    if vectors.ndim != 2 or not len(vectors) or len(tokens) != len(vectors):
        raise InvalidEmbeddingError(
            f"The {name} has {len(tokens)} tokens and vectors of shape {vectors.shape}: explain "
            "needs one vector per token, and at least one. Use the encoder that made the index."
        )
