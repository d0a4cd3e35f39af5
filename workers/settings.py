"""What a worker is told: which indexes it serves, by which broker, and how much at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ..engine.errors import InvalidParameterError
from ..engine.shown import shown
from ..engine.storage.directory import LocalDirectory
from ..engine.validation import finite_number
from .leases import LEASE_SECONDS
from .selection import BatchLimits
from .watch import ManifestWatch

VARIABLE: Final = "WEFT_WORKER"
"""Environment variable with the settings as JSON, for `celery -A weft.workers.app worker`."""

DEFAULT_BROKER: Final = "redis://localhost:6379/0"

ENCODE: Final = "encode"
MAINTENANCE: Final = "maintenance"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings of a worker.

    Args:
        indexes: folders of the indexes that it serves; all other messages are refused.
        broker_url: of Redis.
        limits: of what is encoded and committed together.
        drain_seconds: how long a task goes on; what is left is for the next one.
        time_limit_seconds: after which a task is interrupted; killed 30 seconds later.
        sweep_seconds: how often the inbox is looked through for what Redis has forgotten.
        maintenance_seconds: how often it is looked up whether maintenance is due; 0 is never.
        encoder: checkpoint folder or hub name, if the indexes' encoder is not where it was.
        threads: for compression; 0 is all cores.
        encoder_threads: PyTorch's in each working process; 0 leaves them as they are.
        lease_seconds: silence after which a process counts as dead and others do its work; a
            process that merely was asleep does no harm afterwards.

    Raises:
        InvalidParameterError: no index, or a value out of range.
    """

    indexes: tuple[Path, ...]
    broker_url: str = DEFAULT_BROKER
    limits: BatchLimits = field(default_factory=BatchLimits)
    drain_seconds: float = 20.0
    time_limit_seconds: float = 1800.0
    sweep_seconds: float = 10.0
    maintenance_seconds: float = 15.0
    encoder: str | None = None
    threads: int = 0
    encoder_threads: int = 0
    lease_seconds: float = LEASE_SECONDS

    def __post_init__(self) -> None:
        if not self.indexes:
            raise InvalidParameterError("A worker needs an index: pass the folder of one.")
        for name, least in (
            ("drain_seconds", 0.1),
            ("time_limit_seconds", 1),
            ("sweep_seconds", 0.1),
            ("maintenance_seconds", 0),
            ("lease_seconds", 1),
        ):
            value = getattr(self, name)
            number = finite_number(value)
            if number is None or number < least:
                raise InvalidParameterError(
                    f"{name} is {shown(value)}: use a number from {least} on."
                )

    def to_json(self) -> str:
        """For an environment variable."""
        return json.dumps({**asdict(self), "indexes": [str(path) for path in self.indexes]})

    @classmethod
    def from_json(cls, text: str) -> WorkerSettings:
        """What `to_json` gave.

        Raises:
            InvalidParameterError: it is not that.
        """
        try:
            fields = json.loads(text)
            fields["indexes"] = tuple(Path(path) for path in fields["indexes"])
            fields["limits"] = BatchLimits(**fields.get("limits", {}))
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidParameterError(
                f"The worker's settings cannot be read ({error}): make them with "
                "WorkerSettings(...).to_json()."
            ) from error

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> WorkerSettings:
        """The settings in the environment variable `WEFT_WORKER`.

        Raises:
            InvalidParameterError: it is not set, or not readable.
        """
        if VARIABLE not in environment:
            raise InvalidParameterError(
                f"The environment variable {VARIABLE} is not set: use `weft worker`, or set it to "
                "WorkerSettings(...).to_json()."
            )
        return cls.from_json(environment[VARIABLE])

    def paths(self) -> dict[str, Path]:
        """The folders of the indexes by their UUIDs, which messages name.

        Raises:
            IndexNotFoundError, CorruptIndexError: one of them cannot be read.
            InvalidParameterError: two of them are the same, or copies of each other.
        """
        found: dict[str, Path] = {}
        for path in self.indexes:
            uuid = ManifestWatch(LocalDirectory(path)).newest().index_uuid
            if uuid in found:
                raise InvalidParameterError(
                    f"{found[uuid]} and {path} hold the same index, or a copy of it: one worker "
                    "serves one of them."
                )
            found[uuid] = path.resolve()
        return found


def default_broker() -> str:
    """The Redis of this machine."""
    return DEFAULT_BROKER


def queue_name(kind: str, index_uuid: str) -> str:
    """The queue of an index: no worker gets messages for an index that it does not serve."""
    return f"weft.{kind}.{index_uuid}"


def broker_options(visibility_seconds: float) -> dict[str, Any]:
    """Options of the Redis transport: no wait without an end, nothing delivered twice for long
    tasks."""
    return {
        "visibility_timeout": visibility_seconds,
        "socket_timeout": 15.0,
        "socket_connect_timeout": 5.0,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": True,
    }
