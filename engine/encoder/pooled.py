"""An encoder whose passages are pooled; queries stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from .base import Encoder, EncoderIdentity, FloatArray, Token
from .pooling import check_pool_factor, pool_tokens, pooled_labels

POOL_FACTOR: Final = "pool_factor"
"""Where an identity's details record the factor; left out where nothing is pooled."""


class PooledEncoder:
    """Any encoder, with passages of `factor` times fewer vectors.

    The factor is part of its identity, so that an index takes no passages pooled otherwise, and
    a Weft that knows no pooling refuses to search it by text.

    Args:
        encoder: what encodes.
        factor: tokens per vector, 2 to 16.

    Raises:
        InvalidParameterError: a factor out of range.
    """

    def __init__(self, encoder: Encoder, factor: int) -> None:
        self._encoder = encoder
        self._factor = check_pool_factor(factor)

    @property
    def identity(self) -> EncoderIdentity:
        """The encoder's own, with the factor among its details."""
        own = self._encoder.identity
        return replace(own, details={**own.details, POOL_FACTOR: self._factor})

    @property
    def source(self) -> str | None:
        """What loads the encoder again."""
        return getattr(self._encoder, "source", None)

    @property
    def announcement(self) -> str | None:
        """What the encoder has to say of itself."""
        return getattr(self._encoder, "announcement", None)

    @property
    def languages(self) -> tuple[str, ...]:
        """Language adapters of the encoder."""
        return getattr(self._encoder, "languages", ())

    @property
    def encodes_elsewhere(self) -> bool:
        """Whether the encoder leaves this machine's cores to others."""
        return bool(getattr(self._encoder, "encodes_elsewhere", False))

    def encode_queries(self, texts: Sequence[str]) -> list[FloatArray]:
        """One array [query tokens, dim] per text, not pooled."""
        return self._encoder.encode_queries(texts)

    def encode_passages(
        self,
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | None = None,
        progress: bool = False,
    ) -> list[FloatArray]:
        """One array [pooled vectors, dim] per text."""
        found = self._encoder.encode_passages(texts, languages=languages, progress=progress)
        return [pool_tokens(rows, self._factor) for rows in found]

    def split(self, text: str) -> list[tuple[int, int]]:
        """Character spans of overlapping passages."""
        return self._encoder.split(text)

    def split_many(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """`split` for several texts."""
        return self._encoder.split_many(texts)

    def query_tokens(self, text: str) -> list[Token]:
        """The tokens behind the rows of `encode_queries`."""
        return self._encoder.query_tokens(text)

    def passage_tokens(self, text: str) -> list[Token]:
        """For each pooled vector the token that is nearest to it."""
        tokens = self._encoder.passage_tokens(text)
        rows = self._encoder.encode_passages([text])[0]
        pooled = pool_tokens(rows, self._factor)
        if len(pooled) == len(rows):
            return tokens
        labels = pooled_labels(rows, self._factor)
        near = np.einsum("nd,nd->n", rows, pooled[labels])
        found = []
        for cluster in range(len(pooled)):
            members = np.flatnonzero(labels == cluster)
            found.append(tokens[int(members[near[members].argmax()])])
        return found


def as_pooled(encoder: Encoder, factor: int) -> Encoder:
    """The encoder with that pooling; one that pools already, or need not, stays as it is."""
    if factor == 1 or POOL_FACTOR in encoder.identity.details:
        return encoder
    return PooledEncoder(encoder, factor)


def recorded_factor(identity: Mapping[str, Any] | None) -> int:
    """The factor that an index records of its encoder; 1 where it records none."""
    details = (identity or {}).get("details")
    found = details.get(POOL_FACTOR, 1) if isinstance(details, Mapping) else 1
    return check_pool_factor(found)
