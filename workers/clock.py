"""The clock of a worker: what is to be done regularly, sent at once and whenever it is due."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.errors import IndexNotFoundError, WeftError
from ..engine.storage.directory import LocalDirectory
from .copies import Copies
from .watch import ManifestWatch

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)


class Clock(threading.Thread):
    """Sends the regular tasks of Celery's schedule.

    A thread of each worker instead of one beat process, so that none is missing after a kill, and
    none is left behind by one. What several workers send is harmless: it expires, and the tasks
    find nothing to do.

    Args:
        app: with its schedule.
        queues: those that this worker serves.
        paths: of its indexes; the worker ends when one of them is gone, or another one.
    """

    def __init__(
        self, app: Celery, queues: Collection[str], paths: Mapping[str, Path] | None = None
    ) -> None:
        super().__init__(name="weft-clock", daemon=True)
        self._app = app
        self._entries = [
            entry
            for entry in app.conf.beat_schedule.values()
            if entry["options"]["queue"] in queues
        ]
        self._watches = [ManifestWatch(LocalDirectory(path)) for path in (paths or {}).values()]
        self._copies = Copies(app, paths or {})
        self._stop_event = threading.Event()

    def run(self) -> None:
        """See `threading.Thread.run`."""
        ticks = 0
        period = min((entry["schedule"] for entry in self._entries), default=60.0)
        while True:
            if not self._serves_what_it_did():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._copies.look()
            for entry in self._entries:
                if ticks % max(1, round(entry["schedule"] / period)) == 0:
                    self._send(entry)
            ticks += 1
            if self._stop_event.wait(period):
                return

    def stop(self) -> None:
        """End the thread."""
        self._stop_event.set()

    def _serves_what_it_did(self) -> bool:
        """Whether the indexes are those for which this worker was started."""
        for watch in self._watches:
            try:
                watch.newest()
            except IndexNotFoundError as error:
                logger.critical("This worker ends: %s", error)
                return False
            except WeftError as error:
                logger.error("%s: %s", type(error).__name__, error)
        return True

    def _send(self, entry: dict[str, Any]) -> None:
        from kombu.exceptions import OperationalError

        try:
            self._app.send_task(entry["task"], args=entry["args"], retry=False, **entry["options"])
        except OperationalError as error:
            logger.warning("%s could not be sent: %s", entry["task"], error)
        except Exception:
            # Were the clock to stop, what Redis has lost would stay where it is.
            logger.exception("%s could not be sent", entry["task"])


def start_with_worker(app: Celery, paths: Mapping[str, Path]) -> None:
    """Start a clock when a worker of this application is ready, however it was started."""
    from celery.signals import worker_ready

    def start(sender: Any, **_: Any) -> None:
        if sender.app is app:
            Clock(app, set(app.amqp.queues.consume_from), paths).start()

    worker_ready.connect(start, weak=False)
