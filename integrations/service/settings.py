"""What a service is told: what it serves, to whom, and how much at a time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ...engine import limits as engine_limits
from ...engine.errors import InvalidParameterError
from ...engine.shown import shown
from ...engine.validation import finite_number
from .keys import Key

VARIABLE: Final = "WEFT_SERVICE"
"""Environment variable by which the processes of one service get their settings, as JSON."""

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Bounds on requests, beside those of the engine; what exceeds them gets 4xx.

    Args:
        body_bytes: of a request's body, counted while it is read.
        file_bytes: of an uploaded file.
        body_seconds: in which a body must have arrived.
        k: hits of one query.
        hits: of all queries of one request.
        documents: of one request.
        queries: of one request.
        texts: to be embedded or reranked in one request.
        characters: of all texts to be embedded, reranked or searched in one request.
        requests: being answered at the same time by one process; more get 503.
    """

    body_bytes: int = 32 * 2**20
    file_bytes: int = 64 * 2**20
    body_seconds: float = 60.0
    k: int = 1000
    hits: int = 20_000
    documents: int = 1000
    queries: int = 256
    texts: int = 1000
    characters: int = 4_000_000
    requests: int = 512

    def __post_init__(self) -> None:
        for item in fields(self):
            number = finite_number(getattr(self, item.name))
            if number is None or number < 1:
                raise InvalidParameterError(
                    f"{item.name} is {shown(getattr(self, item.name))}: use a number from 1 on."
                )
        if self.k > engine_limits.MAX_K:
            raise InvalidParameterError(
                f"k is {self.k:,}: a search has at most {engine_limits.MAX_K:,} hits."
            )


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of a service.

    Args:
        root: a folder of collections, or of one index.
        keys: who may do what; with none, everybody who reaches the service may do all.
        limits: of requests.
        encoder: checkpoint folder or hub name for new collections; None is weft-mini.
        broker_url: of the workers' Redis, for documents that are queued.
        queue: whether documents can be queued without Redis too; workers find them by themselves.
        maintenance_seconds: how often one process looks what maintenance is due; 0 is never, for
            where workers do it.
        threads: for one search; 0 is all cores, shared by the searches that are under way.
        anyone: whether a service without keys answers to other names than this machine's own.
        warm: load the encoder before the service calls itself ready.

    Raises:
        InvalidParameterError: a value out of range.
    """

    root: Path
    keys: tuple[Key, ...] = ()
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    encoder: str | None = None
    broker_url: str | None = None
    queue: bool = False
    maintenance_seconds: float = 15.0
    threads: int = 0
    anyone: bool = False
    warm: bool = True

    def __post_init__(self) -> None:
        number = finite_number(self.maintenance_seconds)
        if number is None or number < 0:
            raise InvalidParameterError(
                f"maintenance_seconds is {shown(self.maintenance_seconds)}: use a number from 0."
            )
        names = [key.name for key in self.keys]
        if len(set(names)) != len(names):
            raise InvalidParameterError("Two keys have the same name: name them apart.")

    @property
    def queues(self) -> bool:
        """Whether documents can be queued."""
        return self.queue or self.broker_url is not None

    def to_json(self) -> str:
        """For an environment variable; holds digests of keys, not the keys."""
        fields = {**asdict(self), "root": str(self.root)}
        return json.dumps(fields, default=sorted)

    @classmethod
    def from_json(cls, text: str) -> ServiceSettings:
        """What `to_json` gave.

        Raises:
            InvalidParameterError: it is not that.
        """
        try:
            given: dict[str, Any] = json.loads(text)
            given["root"] = Path(given["root"])
            given["limits"] = ServiceLimits(**given["limits"])
            given["keys"] = tuple(Key.from_json(key) for key in given["keys"])
            return cls(**given)
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidParameterError(
                f"{VARIABLE} cannot be read ({error}): make it with ServiceSettings.to_json()."
            ) from error
