"""The encoder of an index: recorded when the index is made, loaded when first needed, checked."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .encoder.base import Encoder
from .encoder.placement import placed
from .encoder.pooled import as_pooled, recorded_factor
from .encoder.pooling import check_pool_factor
from .errors import (
    DimensionMismatchError,
    EncoderMismatchError,
    InvalidParameterError,
    InvalidQueryError,
)

COMPARED = ("content_hash", "dim", "query_maxlen", "document_maxlen", "details")
"""What must agree for two encoders to give equal vectors; names may differ."""

EncoderLike = str | Path | Encoder


class EncoderSlot:
    """Holds an index's encoder, or what is needed to load it when a text first needs it."""

    def __init__(self, given: EncoderLike | None, dim: int | None = None) -> None:
        self._given = given
        self._recorded: Mapping[str, Any] | None = None
        self._dim = dim
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()
        self.device: str | None = None  # where it is loaded, if a GPU searches

    @classmethod
    def for_new_index(
        cls, given: EncoderLike | None, dim: int | None, pool_factor: int = 1
    ) -> EncoderSlot:
        """The slot of an index about to be made: an encoder, or a dim alone.

        Raises:
            InvalidParameterError: both were given, or a pool factor that cannot be used.
        """
        check_pool_factor(pool_factor)
        if given is not None and dim is not None:
            raise InvalidParameterError(
                "encoder and dim exclude each other: an encoder brings its dim; pass dim alone "
                "for an index of ready-made embeddings."
            )
        if dim is not None and pool_factor != 1:
            raise InvalidParameterError(
                "pool_factor pools what an encoder gives: an index of ready-made embeddings has "
                "none; pool them before they are added."
            )
        slot = cls(given, dim)
        if dim is None:
            slot._encoder = as_pooled(_load(given), pool_factor)
            slot._dim = slot._encoder.identity.dim
            slot._recorded = _record(slot._encoder)
        return slot

    @property
    def dim(self) -> int:
        """Components per vector; 0 before it is known."""
        return self._dim or 0

    def record(self) -> Mapping[str, Any] | None:
        """The identity as the manifest keeps it; None for an index of ready-made embeddings."""
        return self._recorded

    def expect(self, recorded: Mapping[str, Any] | None, dim: int) -> None:
        """Take the identity from a manifest, and hold an encoder that was handed in against it.

        Raises:
            EncoderMismatchError: the encoder handed in is another one.
            DimensionMismatchError: the index has no encoder and another dim.
        """
        self._recorded, self._dim = recorded, dim
        if self._given is not None:
            self.get()

    def get(self) -> Encoder:
        """The encoder, loaded once and checked.

        Raises:
            InvalidQueryError: the index holds ready-made embeddings and none was handed in.
            EncoderMismatchError: what was loaded is not what the index was made with.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load_checked()
            return self._encoder

    def _load_checked(self) -> Encoder:
        if self._given is None and self._recorded is None:
            raise InvalidQueryError(
                "This index holds ready-made embeddings and records no encoder: pass vectors, or "
                "open it with the encoder that made them: Index.open(path, encoder=...)."
            )
        source = self._given
        if source is None and self._recorded is not None:
            source = self._recorded.get("source")
        encoder = as_pooled(_load(placed(source, self.device)), recorded_factor(self._recorded))
        self._check(encoder)
        return encoder

    def _check(self, encoder: Encoder) -> None:
        identity = encoder.identity.to_json()
        if self._recorded is None:
            if identity["dim"] != self._dim:
                raise DimensionMismatchError(
                    f"Encoder {identity['name']!r} has dim {identity['dim']}, the index has dim "
                    f"{self._dim}: use the encoder that made its embeddings."
                )
            return
        for key in COMPARED:
            if identity[key] != self._recorded.get(key):
                raise EncoderMismatchError(
                    f"The index was made with encoder {self._recorded.get('name')!r}; "
                    f"{identity['name']!r} differs in {key}. Open it with the encoder it was made "
                    "with, or make a new index and add the documents again."
                )


def _load(source: object) -> Encoder:
    if isinstance(source, Encoder):
        return source
    if source is not None and not isinstance(source, str | Path):
        raise InvalidParameterError(
            f"encoder is a {type(source).__name__}: pass a folder, a hub name, or an object with "
            "the methods of weft.engine.encoder.Encoder."
        )
    from .encoder import load_encoder

    # Its threads are PyTorch's, a setting of the whole process that is not ours to change.
    return load_encoder(source)


def _record(encoder: Encoder) -> dict[str, Any]:
    return {**encoder.identity.to_json(), "source": getattr(encoder, "source", None)}
