"""What a client may name as a model: the service's encoder, or that of a collection."""

from __future__ import annotations

from typing import Final

from ...engine.encoder.base import Encoder
from .collections import is_index
from .context import Service
from .keys import Key
from .names import is_name
from .problems import Refusal

DEFAULT: Final = "default"
"""Names the service's encoder, whichever it is."""


def encoder_named(service: Service, key: Key, model: str) -> Encoder:
    """The encoder that a request names; blocks while it is loaded.

    Raises:
        Refusal: there is no such model, or the key does not open it.
        InvalidQueryError, EncoderError: the collection has none, or it cannot be loaded.
    """
    if model == DEFAULT or model == service.encoders.default().identity.name:
        return service.encoders.default()
    known = is_name(model) and key.opens(model, write=False)
    if known and is_index(service.collections.path(model)):
        with service.collections.using(model) as collection:
            return service.encoder_of(collection)
    raise Refusal(
        404,
        "model_not_found",
        f"There is no model {model[:80]!r}: use {DEFAULT!r}, or the name of a collection.",
        param="model",
    )


def names_served(service: Service, key: Key) -> list[str]:
    """All that the key may name."""
    collections = [n for n in service.collections.names() if key.opens(n, write=False)]
    own = service.encoders.default().identity.name
    return list(dict.fromkeys([DEFAULT, own, *collections]))
