"""The bell: tells the workers, by way of Redis, that something lies in the inbox."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from typing import Final, Protocol

from .app import client_app, send_drain

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 5.0
"""After the broker has failed, it is left alone for so long; the sweep makes up for it."""

LAST_SECONDS: Final = 1.0
"""How long a process waits at its end for the broker to take the last message."""


class Ringing(Protocol):
    """What a client tells of its submissions."""

    def ring(self, sequence: int) -> None:
        """Something was submitted."""

    def close(self) -> None:
        """Nothing more will be."""


class NoBell:
    """Leaves it to the workers' sweep to find what was submitted."""

    def ring(self, sequence: int) -> None:
        """See `Ringing.ring`."""

    def close(self) -> None:
        """See `Ringing.close`."""


class Bell:
    """Sends messages from a thread of its own, so that a submit never waits for the broker.

    Whatever was submitted while a message was under way is told by one further message: a worker
    takes all that waits.

    Args:
        broker_url: of Redis.
        index_uuid: of the index.

    Raises:
        MissingDependencyError: Celery is not installed.
    """

    def __init__(self, broker_url: str, index_uuid: str) -> None:
        self._app = client_app(broker_url)
        self._index_uuid = index_uuid
        self._waiting = threading.Condition()
        self._sequence = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def ring(self, sequence: int) -> None:
        """See `Ringing.ring`."""
        with self._waiting:
            self._sequence = sequence
            if self._thread is None or not self._thread.is_alive():
                # A process that was forked does not have its parent's thread.
                self._start()
            self._waiting.notify()

    def close(self) -> None:
        """See `Ringing.close`."""
        with self._waiting:
            self._closed = True
            self._waiting.notify()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(LAST_SECONDS)
        atexit.unregister(self.close)

    def _start(self) -> None:
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="weft-bell", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        while True:
            with self._waiting:
                while not self._sequence and not self._closed:
                    self._waiting.wait()
                sequence, self._sequence = self._sequence, 0
            if not sequence:
                return
            if not self._send(sequence) and not self._closed:
                time.sleep(PATIENCE_SECONDS)

    def _send(self, sequence: int) -> bool:
        from kombu.exceptions import OperationalError

        try:
            send_drain(self._app, self._index_uuid, sequence)
        except OperationalError as error:
            logger.warning(
                "The broker could not be told of submission %d, which waits for the next sweep: %s",
                sequence,
                error,
            )
            return False
        except Exception:
            logger.exception("The broker could not be told of submission %d", sequence)
            return False
        return True
