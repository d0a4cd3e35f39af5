"""What the routes of one process share."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.requests import Request

from ...engine.encoder.base import Encoder
from ...engine.errors import (
    CorruptIndexError,
    IndexNotFoundError,
    InvalidQueryError,
    StorageError,
)
from ...engine.identity import EncoderLike
from ...workers import Client
from .collections import Collection, Collections, missing
from .encoders import Encoders, FloatArray, QueryEncoding
from .keys import Key
from .lanes import Lanes
from .names import is_name
from .problems import Refusal
from .settings import ServiceSettings
from .vectors import query_vectors

logger = logging.getLogger("weft.service")


class Service:
    """Collections, encoders and threads of one process.

    Args:
        settings: of the service.
        encoder: an encoder object, instead of `settings.encoder`.
    """

    def __init__(self, settings: ServiceSettings, encoder: EncoderLike | None) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.encoders = Encoders(encoder or settings.encoder)
        self.collections = Collections(settings, self.encoders)
        self.records = self.collections.records
        self.lanes = Lanes(settings.threads)
        self.encoding = QueryEncoding(self.lanes.encoding)
        self.ready = False
        self.jobs: set[tuple[str, str]] = set()

    @property
    def shown_root(self) -> str:
        """The folder that messages to clients leave out."""
        return str(self.settings.root)

    @asynccontextmanager
    async def using(
        self, request: Request, name: str, *, write: bool = False
    ) -> AsyncIterator[Collection]:
        """A collection that the request's key opens, for the time of the block.

        Raises:
            Refusal: there is none of that name, or the key does not open it.
        """
        self.require(request, name, write=write)
        collection = self.collections.acquire_open(name)
        if collection is None:
            collection = await self.lanes.help(self.collections.acquire, name)
        try:
            yield collection
        except (IndexNotFoundError, CorruptIndexError, StorageError) as error:
            raise await self.lanes.help(self.collections.explained, collection, error) from error
        finally:
            collection.release()

    def require(self, request: Request, name: str, *, write: bool = False) -> None:
        """Raise unless the request's key opens a collection; its existence is not told."""
        if not is_name(name):
            raise missing(name[:80])
        if not key_of(request).opens(name, write=write):
            raise Refusal(403, "forbidden", f"This key may not {_verb(write)} {name!r}.")

    def require_all(self, request: Request) -> None:
        """Raise unless the request's key may make and remove collections."""
        key = key_of(request)
        if key.collections is not None or not key.write:
            raise Refusal(
                403, "forbidden", "This key may not make or remove collections: use one for all."
            )

    def encoder_of(self, collection: Collection) -> Encoder:
        """The encoder of a collection.

        Raises:
            InvalidQueryError, EncoderError: it has none, or it cannot be loaded.
        """
        return collection.encoder or collection.index.encoder

    async def vectors(
        self, collection: Collection, queries: Sequence[tuple[str | None, Any]]
    ) -> list[FloatArray]:
        """Vectors of queries, each a text or ready-made embeddings; float32 [nq, dim] each.

        Raises:
            InvalidQueryError, DimensionMismatchError: one that cannot be searched.
        """
        texts = [text for text, _ in queries if text is not None]
        given = [
            None if text is not None else query_vectors(values, collection.dim)
            for text, values in queries
        ]
        if not texts:
            return [array for array in given if array is not None]
        self.check_characters(texts)
        encoder = collection.encoder
        if encoder is None:
            encoder = await self.lanes.help(self.encoder_of, collection)
        encoded = iter(await self.encoding.encode(encoder, texts))
        return [next(encoded) if array is None else array for array in given]

    async def queue_of(self, collection: Collection) -> Client:
        """The client of a collection's queue.

        Raises:
            Refusal: the service has no queue.
            InvalidInputError: the collection has no encoder that workers could use.
        """
        if not self.settings.queues:
            raise Refusal(
                400, "no_queue", "This service has no queue: start it with --broker or --queue."
            )
        return await self.lanes.help(collection.client, self.settings.broker_url)

    def check_characters(self, texts: Sequence[str]) -> None:
        """Raise where the texts of a request are longer than one may bring."""
        total = sum(map(len, texts))
        if total > self.limits.characters:
            raise InvalidQueryError(
                f"The texts have {total:,} characters; one request has at most "
                f"{self.limits.characters:,}."
            )

    def close(self) -> None:
        """End what is under way and close all collections."""
        self.ready = False
        self.lanes.close()
        self.collections.close()


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast(Service, request.app.state.service)


def key_of(request: Request) -> Key:
    """The key that a request came with."""
    return cast(Key, request.state.key)


def check_count(what: str, given: int, most: int) -> None:
    """Raise for more of something than one request may bring."""
    if given > most:
        raise Refusal(
            413, "too_many", f"{given:,} {what} in one request; at most {most:,} are allowed."
        )


def _verb(write: bool) -> str:
    return "change" if write else "read"
