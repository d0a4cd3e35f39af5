"""Celery workers that feed an index, the client that submits to them, and a look at the queue.

    >>> from weft.workers import Client
    >>> client = Client("my-index", "redis://localhost:6379/0")
    >>> client.wait(client.submit([weft.Document("warp", "Warp threads are held taut.")])).state
    'committed'

The workers themselves are started by `weft worker`. Only they and a client with a broker need the
extra `weft[workers]`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client as Client
    from .client import SubmissionStatus as SubmissionStatus
    from .inbox import DeadLetter as DeadLetter
    from .letters import dead_letters as dead_letters
    from .letters import drop as drop
    from .letters import retry as retry
    from .logs import set_up_logging as set_up_logging
    from .overview import Overview as Overview
    from .overview import Watcher as Watcher
    from .selection import BatchLimits as BatchLimits
    from .serving import serve as serve
    from .settings import WorkerSettings as WorkerSettings
    from .settings import default_broker as default_broker

_HOMES = {
    "BatchLimits": "selection",
    "Client": "client",
    "DeadLetter": "inbox",
    "Overview": "overview",
    "SubmissionStatus": "client",
    "Watcher": "overview",
    "WorkerSettings": "settings",
    "dead_letters": "letters",
    "default_broker": "settings",
    "drop": "letters",
    "retry": "letters",
    "serve": "serving",
    "set_up_logging": "logs",
}

__all__ = [
    "BatchLimits",
    "Client",
    "DeadLetter",
    "Overview",
    "SubmissionStatus",
    "Watcher",
    "WorkerSettings",
    "dead_letters",
    "default_broker",
    "drop",
    "retry",
    "serve",
    "set_up_logging",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weft.workers' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
