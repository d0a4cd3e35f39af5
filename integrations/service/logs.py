"""What the service tells of its work: a JSON object per line, with the request's id."""

from __future__ import annotations

import json
import logging
import queue
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener

MOST_WAITING = 10_000
"""Lines that may wait for a slow terminal or pipe; further ones are dropped."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"fields": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record for people, its fields behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        told = getattr(record, "fields", {})
        return " ".join([super().format(record), *(f"{k}={v}" for k, v in told.items())])


class DroppingHandler(QueueHandler):
    """Hands records to a thread that writes them; the event loop never waits for a pipe."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """As it is: nothing leaves the process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put it in line, or drop it where the line is too long."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


def set_up_logging(level: str = "info", *, as_json: bool = True) -> QueueListener:
    """Send all log records of this process to stderr.

    Args:
        level: "debug", "info", "warning" or "error".
        as_json: one JSON object per line; otherwise text.

    Returns:
        What writes them, running; stop it at the end so that nothing is left in the line.
    """
    stream = logging.StreamHandler()
    stream.setFormatter(JsonFormatter() if as_json else TextFormatter())
    line: queue.Queue[logging.LogRecord] = queue.Queue(MOST_WAITING)
    root = logging.getLogger()
    root.handlers[:] = [DroppingHandler(line)]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    listener = QueueListener(line, stream)
    listener.start()
    return listener
