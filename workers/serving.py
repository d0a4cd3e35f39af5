"""Running a worker: Celery's consumer, a clock for the regular tasks, and metrics."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..engine.errors import InvalidParameterError
from ..engine.identity import EncoderLike
from .app import make_app
from .settings import ENCODE, MAINTENANCE, WorkerSettings, queue_name

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

KINDS: Final = (ENCODE, MAINTENANCE)
POOLS: Final = ("prefork", "solo", "threads")


def serve(
    settings: WorkerSettings,
    *,
    kinds: Sequence[str] = KINDS,
    pool: str = "prefork",
    concurrency: int = 1,
    metrics_port: int | None = None,
    encoder: EncoderLike | None = None,
    level: str = "info",
) -> None:
    """Run a worker until it is told to stop by SIGTERM or SIGINT; it finishes what it is at.

    Args:
        settings: what it serves, and how.
        kinds: of queues: "encode", "maintenance" or both.
        pool: "prefork" (processes, with time limits), "solo" or "threads".
        concurrency: processes or threads.
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
    _check(kinds, pool, concurrency)
    # Several processes share the cores: threads that wait must not spin.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if metrics_port is not None:
        _prepare_metrics()
    app = make_app(settings, encoder=encoder)
    queues = [queue_name(kind, uuid) for uuid in settings.paths() for kind in kinds]
    controllers = _on_ready(app, queues, metrics_port)
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


def _on_ready(app: Celery, queues: Sequence[str], metrics_port: int | None) -> list[Any]:
    """Have clock and metrics started; Celery's worker is put into the list that is returned."""
    from celery.signals import worker_ready

    controllers: list[Any] = []

    def start(sender: Any, **_: Any) -> None:
        controllers.append(sender.controller)
        Clock(app, queues).start()
        if metrics_port is not None:
            _serve_metrics(metrics_port)

    worker_ready.connect(start, weak=False)
    return controllers


class Clock(threading.Thread):
    """Sends the regular tasks of Celery's schedule, at once and then as often as they are due.

    A thread of each worker instead of one beat process, so that none is missing after a kill, and
    none is left behind by one. What several workers send is harmless: it expires, and the tasks
    find nothing to do.

    Args:
        app: with its schedule.
        queues: those that this worker serves.
    """

    def __init__(self, app: Celery, queues: Sequence[str]) -> None:
        super().__init__(name="weft-clock", daemon=True)
        self._app = app
        self._entries = [
            entry
            for entry in app.conf.beat_schedule.values()
            if entry["options"]["queue"] in queues
        ]
        self._stop_event = threading.Event()

    def run(self) -> None:
        """See `threading.Thread.run`."""
        ticks = 0
        period = min((entry["schedule"] for entry in self._entries), default=60.0)
        while True:
            for entry in self._entries:
                if ticks % max(1, round(entry["schedule"] / period)) == 0:
                    self._send(entry)
            ticks += 1
            if self._stop_event.wait(period):
                return

    def stop(self) -> None:
        """End the thread."""
        self._stop_event.set()

    def _send(self, entry: dict[str, Any]) -> None:
        from kombu.exceptions import OperationalError

        try:
            self._app.send_task(entry["task"], args=entry["args"], retry=False, **entry["options"])
        except OperationalError as error:
            logger.warning("%s could not be sent: %s", entry["task"], error)
        except Exception:
            # Were the clock to stop, what Redis has lost would stay where it is.
            logger.exception("%s could not be sent", entry["task"])


def _prepare_metrics() -> None:
    """Several processes count into one folder, which must be named before the library loads."""
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="weft-metrics-"))


def _serve_metrics(port: int) -> None:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    start_http_server(port, registry=registry)
