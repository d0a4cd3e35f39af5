"""What the engine asks of an encoder, and the identity that an index remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What makes two encoders interchangeable: equal identities give equal vectors.

    Args:
        name: as the user gave it (a path's last folder or a hub name); for people, not compared.
        content_hash: hex BLAKE2b over weights, tokenizer and projection files.
        dim: components per vector.
        query_maxlen, document_maxlen: lengths in tokens, markers included.
        details: markers, projection and masking rules, for people and for comparison.
    """

    name: str
    content_hash: str
    dim: int
    query_maxlen: int
    document_maxlen: int
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The identity as it stands in a manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Token:
    """One scored vector's origin: its text and the characters `[start, end)` it came from.

    Markers, `[CLS]`, `[SEP]` and `[MASK]` have an empty span (`start == end`).
    """

    text: str
    start: int
    end: int


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into one L2-normalised float32 vector per token. Thread-safe.

    One that works elsewhere, on a GPU or behind a service, may say so by an attribute
    `encodes_elsewhere` that is True: then the next texts are encoded while the last ones are
    compressed and written.
    """

    @property
    def identity(self) -> EncoderIdentity:
        """What an index records and checks."""

    def encode_queries(self, texts: Sequence[str]) -> list[FloatArray]:
        """One array [query tokens, dim] per text."""

    def encode_passages(
        self,
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | None = None,
        progress: bool = False,
    ) -> list[FloatArray]:
        """One array [passage tokens, dim] per text; skip-listed tokens are left out."""

    def split(self, text: str) -> list[tuple[int, int]]:
        """Character spans of overlapping passages that each fit `document_maxlen`.

        They cover every character that is not white space, in order, the first from the first
        and the last up to the last such character; one span where the text fits whole.
        """

    def split_many(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """`split` for several texts, tokenised together."""

    def query_tokens(self, text: str) -> list[Token]:
        """The tokens behind the rows of `encode_queries`."""

    def passage_tokens(self, text: str) -> list[Token]:
        """The tokens behind the rows of `encode_passages`."""
