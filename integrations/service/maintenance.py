"""Maintenance in the background: what is due to the collections, by one process of a service."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from ...engine.errors import WeftError
from .problems import Refusal
from .records import held_folder

if TYPE_CHECKING:
    from .context import Service

logger = logging.getLogger("weft.service")

STEP_SECONDS: Final = 5.0
"""How long a service that ends waits for the step that is under way."""


class Maintenance:
    """A thread that merges segments and trains codecs where that is due.

    Args:
        service: whose collections they are.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seconds = service.settings.maintenance_seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    def start(self) -> None:
        """Begin, unless it is never to be done."""
        if self._seconds:
            self._thread.start()

    def stop(self) -> None:
        """Begin no further step; the one that is under way is a commit, or nothing."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(STEP_SECONDS)

    def _run(self) -> None:
        while not self._ending.wait(self._seconds):
            for name in self._service.collections.open_names():
                try:
                    self._maintain(name)
                except (WeftError, Refusal, OSError) as error:
                    logger.warning("Maintenance of %s is put off: %s", name, error)

    def _maintain(self, name: str) -> None:
        folder = self._service.collections.path(name)
        # Of the processes of a service one is enough; two would merely do the work twice.
        with held_folder(folder) as held:
            while held and not self._ending.is_set():
                with self._service.collections.using(name) as collection:
                    report = collection.index.maintain(seconds=STEP_SECONDS, max_steps=1)
                for step in report.steps:
                    logger.info("Maintenance of %s: %s", name, step)
                if not report.steps:
                    return
