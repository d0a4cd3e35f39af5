"""The tasks: drain the inbox, sweep it, maintain the index. All may run at any time, and twice."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..engine.errors import (
    DeviceFailedError,
    IndexReplacedError,
    InvalidParameterError,
    StorageError,
    WeftError,
)
from ..engine.identity import EncoderLike
from ..engine.shown import shown
from ..engine.storage.maintenance import maintain
from ..engine.storage.sequences import MAX_SEQUENCE
from .app import DRAIN, MAINTAIN, SWEEP, send_drain
from .context import Contexts, IngestContext
from .drain import CANARY, Drain, DrainReport, EncoderBrokenError
from .leases import Lease, is_alive, remove_expired
from .metrics import Observer, make_observer
from .settings import WorkerSettings

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

MAX_DELIVERIES: Final = 3
"""Times that one message is worked on; after that the sweep sees to what it was about."""

MAX_DRAINS: Final = 8
"""Drains that one sweep asks for."""

MAINTENANCE_TIME_FACTOR: Final = 12
"""A training of a large collection takes longer than any batch."""

MAINTAINER: Final = "maintenance"
"""Name of the lease of whoever maintains an index: one at a time is enough."""


class Work:
    """What the tasks of a worker do.

    Args:
        app: that sends further messages.
        settings: of the worker.
        paths: folders of the indexes, by UUID.
        encoder: an encoder object, instead of `settings.encoder`.
    """

    def __init__(
        self,
        app: Celery,
        settings: WorkerSettings,
        paths: dict[str, Path],
        encoder: EncoderLike | None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._paths = paths
        self._contexts = Contexts(
            settings.encoder if encoder is None else encoder,
            settings.threads,
            settings.lease_seconds,
        )
        self._lock = threading.Lock()
        self._observer: Observer | None = None

    def context(self, index_uuid: object) -> IngestContext:
        """The context of an index that this worker serves.

        Raises:
            InvalidParameterError: it does not.
        """
        if not isinstance(index_uuid, str) or index_uuid not in self._paths:
            raise InvalidParameterError(
                f"This worker does not serve index {shown(index_uuid)}: start it with its folder."
            )
        context = self._contexts.get(self._paths[index_uuid])
        if context.index_uuid != index_uuid:
            raise IndexReplacedError(
                f"{self._paths[index_uuid]} holds another index than when this worker was started: "
                "start it again."
            )
        return context

    def drain(self, index_uuid: object, sequence: object) -> None:
        """Apply what waits, if the submission that this is about still does.

        Raises:
            InvalidParameterError: a message that no client of Weft has sent.
            StorageError, EncoderError, MissingDependencyError: as `Drain.run`.
        """
        context = self.context(index_uuid)
        if type(sequence) is not int or not 0 < sequence <= MAX_SEQUENCE:
            raise InvalidParameterError(f"{shown(sequence)} is no submission.")
        if sequence in context.applied():
            return
        left = self._run(context).left
        if left:
            # By a number that is not done yet, or whoever gets it would do nothing.
            send_drain(self._app, str(index_uuid), left)

    def _run(self, context: IngestContext) -> DrainReport:
        from celery.exceptions import SoftTimeLimitExceeded

        with self._lock:
            # Metrics of one name can be made only once in a process.
            if self._observer is None:
                self._observer = make_observer()
        # Loaded before anything is taken in hand: no document is to blame if it cannot be.
        self._load(context)
        drain = Drain(context, self._settings.limits, self._observer, (SoftTimeLimitExceeded,))
        try:
            return drain.run(self._settings.drain_seconds)
        except StorageError as error:
            context.renounce(error)
            raise
        except (EncoderBrokenError, DeviceFailedError):
            _make_way()
            raise

    def load(self) -> int:
        """Load the encoders of all indexes, and have each encode a sentence, which takes longer
        the first time; returns how many there are.

        Raises:
            EncoderError, EncoderMismatchError, MissingDependencyError: one of them cannot be had.
            IndexNotFoundError, CorruptIndexError, UnsupportedFormatError: as `Index.open`.
        """
        contexts = [self.context(uuid) for uuid in self._paths]
        with_encoder = [context for context in contexts if context.has_encoder]
        for context in with_encoder:
            self._load(context)
            context.encoder.encode_passages([CANARY])
        return len(with_encoder)

    def _load(self, context: IngestContext) -> None:
        _ = context.encoder
        torch = sys.modules.get("torch")
        wanted = self._settings.encoder_threads
        if torch is not None and wanted and torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)

    def sweep(self, index_uuid: object) -> None:
        """Ask for drains of what waits in nobody's hands, whether or not Redis knows of it.

        Raises:
            InvalidParameterError: an index that this worker does not serve.
            StorageError: the disk refused.
        """
        context = self.context(index_uuid)
        remove_expired(context.directory)
        waiting = [entry for entry in context.inbox.entries(context.applied()) if not entry.dead]
        if not waiting:
            return
        n_drains = min(MAX_DRAINS, math.ceil(len(waiting) / self._settings.limits.operations))
        # Messages of this sweep must reach whoever comes first, also where the first is in hand.
        for entry in waiting[:: math.ceil(len(waiting) / n_drains)]:
            send_drain(self._app, str(index_uuid), entry.sequence)

    def maintain(self, index_uuid: object) -> None:
        """Do what is due to the index, unless somebody is at it.

        Raises:
            InvalidParameterError: an index that this worker does not serve.
            CorruptIndexError, StorageError: as `weft.Index.maintain`.
        """
        context = self.context(index_uuid)
        lease = Lease(context.directory, MAINTAINER, self._settings.lease_seconds)
        if is_alive(context.directory, MAINTAINER) or not lease.take():
            return
        encode = context.encode if context.has_encoder else None
        with lease:
            try:
                # No longer: this process may have to drain as well.
                report = maintain(context.writer, encode, seconds=self._settings.drain_seconds)
            except StorageError as error:
                context.renounce(error)
                raise
            except DeviceFailedError:
                _make_way()
                raise
        for step in report.steps:
            logger.info(
                "Maintenance: %s, %s (%.1f s, generation %d)",
                step.name,
                step.reason,
                step.seconds,
                step.generation,
            )

    def close(self) -> None:
        """Let go of all indexes."""
        self._contexts.close()


def _make_way() -> None:
    """End this process: after an error of its device it often cannot use it again; the next can."""
    os.kill(os.getpid(), signal.SIGTERM)


def add_tasks(
    app: Celery,
    settings: WorkerSettings,
    paths: dict[str, Path],
    encoder: EncoderLike | None,
) -> Work:
    """Give an application its tasks."""
    work = Work(app, settings, paths, encoder)
    longest = MAINTENANCE_TIME_FACTOR * settings.time_limit_seconds

    def drain(task: Any, index_uuid: object, sequence: object) -> None:
        _guarded(task, lambda: work.drain(index_uuid, sequence))

    def sweep(task: Any, index_uuid: object) -> None:
        _guarded(task, lambda: work.sweep(index_uuid))

    def maintain_index(task: Any, index_uuid: object) -> None:
        _guarded(task, lambda: work.maintain(index_uuid))

    app.task(name=DRAIN, bind=True)(drain)
    app.task(name=SWEEP, bind=True)(sweep)
    limits = {"soft_time_limit": longest, "time_limit": longest + 60}
    app.task(name=MAINTAIN, bind=True, **limits)(maintain_index)
    return work


def _guarded(task: Any, work: Callable[[], None]) -> None:
    """Run a task, unless its message has come too often.

    A task that fails is not tried again by itself: what it was about lies in the inbox, and the
    next sweep asks for it.
    """
    if deliveries(task) > MAX_DELIVERIES:
        logger.error(
            "Message %s has been delivered %d times without coming to its end: left to the sweep.",
            task.request.id,
            MAX_DELIVERIES,
        )
        return
    try:
        work()
    except WeftError as error:
        # It says all that there is to say, perhaps every few seconds.
        logger.error("%s: %s", type(error).__name__, error)


def deliveries(task: Any) -> int:
    """Which delivery of its message this is; counted only where it was delivered again."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    info = task.request.delivery_info or {}
    if not info.get("redelivered"):
        return 1
    key = f"weft.deliveries.{task.request.id}"
    try:
        with task.app.connection_for_write() as connection:
            client = connection.default_channel.client
            count = int(client.incr(key)) + 1
            client.expire(key, 24 * 3600)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("Deliveries of %s cannot be counted: %s", task.request.id, error)
        return 2
    return count
