"""Running a worker: Celery's consumer, a clock for the regular tasks, and metrics."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..engine.errors import InvalidParameterError
from ..engine.identity import EncoderLike
from .app import make_app
from .gauges import Gauges
from .settings import ENCODE, MAINTENANCE, WorkerSettings, queue_name

logger = logging.getLogger(__name__)

KINDS: Final = (ENCODE, MAINTENANCE)
POOLS: Final = ("prefork", "solo", "threads")


def serve(
    settings: WorkerSettings,
    *,
    kinds: Sequence[str] = KINDS,
    pool: str = "prefork",
    concurrency: int | None = None,
    metrics_port: int | None = None,
    encoder: EncoderLike | None = None,
    level: str = "info",
) -> None:
    """Run a worker until it is told to stop by SIGTERM or SIGINT; it finishes what it is at.

    Args:
        settings: what it serves, and how.
        kinds: of queues: "encode", "maintenance" or both.
        pool: "prefork" (processes, with time limits), "solo" or "threads".
        concurrency: processes or threads; None is one for each kind, so that encoding does not
            wait for maintenance.
        metrics_port: of Prometheus metrics on all interfaces; None for none.
        encoder: an encoder object, instead of `settings.encoder`.
        level: of the log.

    Raises:
        InvalidParameterError: an unknown kind or pool.
        MissingDependencyError: Celery is not installed.
        IndexNotFoundError, CorruptIndexError: one of the indexes cannot be read.
        SystemExit: Celery gave up, on something in Redis that is no message for example; the log
            says why. Start the worker again.
    """
    concurrency = len(kinds) if concurrency is None and pool != "solo" else concurrency or 1
    _check(kinds, pool, concurrency)
    # Several processes share the cores: threads that wait must not spin.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if metrics_port is not None:
        _prepare_metrics()
    app = make_app(settings, encoder=encoder)
    queues = [queue_name(kind, uuid) for uuid in settings.paths() for kind in kinds]
    controllers = _on_ready(metrics_port, [*settings.paths().values()])
    arguments = [
        "--quiet",
        "worker",
        f"--queues={','.join(queues)}",
        f"--pool={pool}",
        f"--concurrency={concurrency}",
        f"--loglevel={level}",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    app.worker_main(arguments)
    if controllers and controllers[-1].exitcode:
        # Celery keeps it to itself, and whoever starts workers again goes by it.
        raise SystemExit(controllers[-1].exitcode)


def _check(kinds: Sequence[str], pool: str, concurrency: int) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidParameterError(f"There is no queue {kind!r}: use {' or '.join(KINDS)}.")
    if not kinds:
        raise InvalidParameterError("A worker needs a queue: encode, maintenance or both.")
    if pool not in POOLS:
        raise InvalidParameterError(f"There is no pool {pool!r}: use {', '.join(POOLS)}.")
    if not 1 <= concurrency <= 1024:
        raise InvalidParameterError(f"concurrency is {concurrency}: use 1 to 1024.")


def _on_ready(metrics_port: int | None, indexes: Sequence[Path]) -> list[Any]:
    """Have metrics served; Celery's worker is put into the list that is returned."""
    from celery.signals import worker_ready

    controllers: list[Any] = []

    def start(sender: Any, **_: Any) -> None:
        controllers.append(sender.controller)
        if metrics_port is not None:
            _serve_metrics(metrics_port, indexes)

    worker_ready.connect(start, weak=False)
    return controllers


def _prepare_metrics() -> None:
    """Several processes count into one folder, which must be named before the library loads."""
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="weft-metrics-"))


def _serve_metrics(port: int, indexes: Sequence[Path]) -> None:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(Gauges(indexes))
    start_http_server(port, registry=registry)
