"""Loads the encoder when a process of a worker starts, so that no submission waits for it.

In a thread of the process, which meanwhile takes tasks: one that needs the encoder before it is
there waits for the same lock. Never in a process that will fork, whose children could not use
what PyTorch has begun in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..engine.errors import WeftError
from .settings import ENCODE

if TYPE_CHECKING:
    from celery import Celery

    from .tasks import Work

logger = logging.getLogger(__name__)


class Preloading(threading.Thread):
    """One process's.

    Args:
        work: of the process.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(name="weft-preloading", daemon=True)
        self._work = work

    def run(self) -> None:
        """See `threading.Thread.run`."""
        started = time.monotonic()
        try:
            n_encoders = self._work.load()
        except WeftError as error:
            # Whoever needs it will be told the same, and by then it may be there.
            logger.warning("The encoder could not be loaded: %s: %s", type(error).__name__, error)
            return
        except Exception:
            logger.exception("The encoder could not be loaded")
            return
        if n_encoders:
            logger.info("Ready to encode, after %.1f s", time.monotonic() - started)


def preload_with_worker(app: Celery, work: Work) -> None:
    """Load the encoder in each process of this application's workers that may have to encode."""
    from celery import signals

    def encodes() -> bool:
        kinds = {name.split(".")[1] for name in app.amqp.queues.consume_from}
        return ENCODE in kinds

    def in_process(**_: Any) -> None:
        if encodes():
            Preloading(work).start()

    def in_worker(sender: Any, **_: Any) -> None:
        # Processes, and the only one of a solo worker, have been told by their own signal.
        if sender.app is app and _pool(sender) == "thread" and encodes():
            Preloading(work).start()

    signals.worker_process_init.connect(in_process, weak=False)
    signals.worker_ready.connect(in_worker, weak=False)


def _pool(sender: Any) -> str:
    """The kind of pool of a worker that is ready: the last part of its module's name."""
    pool: Callable[..., Any] = sender.controller.pool_cls
    return pool.__module__.rpartition(".")[2]
