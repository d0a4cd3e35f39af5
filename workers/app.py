"""The Celery application: queues, delivery, schedule. Needs the extra `weft[workers]`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..engine.errors import MissingDependencyError
from ..engine.identity import EncoderLike
from .clock import start_with_worker
from .preloading import preload_with_worker
from .settings import ENCODE, MAINTENANCE, WorkerSettings, broker_options, queue_name

if TYPE_CHECKING:
    from celery import Celery

    from .tasks import Work

logger = logging.getLogger(__name__)

DRAIN: Final = "weft.drain"
SWEEP: Final = "weft.sweep"
MAINTAIN: Final = "weft.maintain"

VISIBILITY_FACTOR: Final = 12
"""How many times its time limit a task may take before Redis hands it out again."""

GRACE_SECONDS: Final = 30
"""Between the interruption of a task and its end by force."""

TRANSPORT: Final = "weft.workers.transport:Transport"
"""See there; with a broker of another kind Celery's own is used."""

SENDING: Final = {
    "socket_timeout": 2.0,
    "socket_connect_timeout": 2.0,
    "max_retries": 0,
}
"""A client's broker options: it can do without."""


def _celery(broker_url: str) -> Celery:
    try:
        from celery import Celery
    except ImportError as error:
        raise MissingDependencyError(
            "The ingestion queue needs Celery and Redis: pip install 'weft[workers]'."
        ) from error
    app = Celery("weft", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_hijack_root_logger=False,
        enable_utc=True,
    )
    return app


@lru_cache(maxsize=16)
def client_app(broker_url: str) -> Celery:
    """An application that only sends.

    Raises:
        MissingDependencyError: Celery is not installed.
    """
    app = _celery(broker_url)
    app.conf.update(broker_transport_options=SENDING, task_publish_retry=False)
    return app


def send_drain(app: Celery, index_uuid: str, sequence: int) -> None:
    """Tell the workers of an index of a submission; by its number alone."""
    app.send_task(
        DRAIN, args=[index_uuid, sequence], queue=queue_name(ENCODE, index_uuid), retry=False
    )


def make_app(settings: WorkerSettings, *, encoder: EncoderLike | None = None) -> Celery:
    """The application of a worker.

    Args:
        settings: what it serves, and how.
        encoder: an encoder object, instead of `settings.encoder`.

    Raises:
        MissingDependencyError: Celery is not installed.
        IndexNotFoundError, CorruptIndexError: one of the indexes cannot be read.
    """
    app = _celery(settings.broker_url)
    longest = settings.time_limit_seconds + GRACE_SECONDS
    app.conf.update(
        # Acknowledged when done; a lost worker's message comes again, up to a cap (see tasks).
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=settings.drain_seconds + 5.0,
        task_soft_time_limit=settings.time_limit_seconds,
        task_time_limit=longest,
        broker_transport_options=broker_options(VISIBILITY_FACTOR * longest),
        beat_scheduler="celery.beat:Scheduler",
    )
    if settings.broker_url.startswith("redis://"):
        app.conf.broker_transport = TRANSPORT
    from .tasks import add_tasks

    paths = settings.paths()
    app.conf.task_queues = _queues(paths)
    app.conf.beat_schedule = schedule(settings, paths)
    work = add_tasks(app, settings, paths, encoder)
    _close_at_end(work)
    preload_with_worker(app, work)
    start_with_worker(app, paths)
    return app


def _close_at_end(work: Work) -> None:
    """Give leases and pins back when a process of the worker ends as it should."""
    from celery.signals import worker_process_shutdown, worker_shutdown

    def close(**_: Any) -> None:
        work.close()

    for signal in (worker_process_shutdown, worker_shutdown):
        signal.connect(close, weak=False)


def _queues(paths: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    names = [queue_name(kind, uuid) for uuid in paths for kind in (ENCODE, MAINTENANCE)]
    return {name: {"exchange": name, "binding_key": name} for name in names}


def schedule(settings: WorkerSettings, paths: Mapping[str, Path]) -> dict[str, Any]:
    """What is done regularly, as Celery's beat wants it."""
    entries: dict[str, Any] = {}
    for uuid in paths:
        entries[f"sweep {uuid}"] = _entry(SWEEP, uuid, ENCODE, settings.sweep_seconds)
        if settings.maintenance_seconds:
            entries[f"maintain {uuid}"] = _entry(
                MAINTAIN, uuid, MAINTENANCE, settings.maintenance_seconds
            )
    return entries


def _entry(task: str, index_uuid: str, kind: str, seconds: float) -> dict[str, Any]:
    # A message that nobody has taken until the next one is due is superfluous.
    options = {"queue": queue_name(kind, index_uuid), "expires": seconds}
    return {"task": task, "args": [index_uuid], "schedule": seconds, "options": options}


def __getattr__(name: str) -> Any:
    """`app`, made by the environment, for `celery -A weft.workers.app worker`."""
    if name != "app":
        raise AttributeError(f"module 'weft.workers.app' has no attribute {name!r}")
    made = make_app(WorkerSettings.from_environment())
    globals()[name] = made
    return made
