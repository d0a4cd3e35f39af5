"""SQLite connections of a reader: few are kept open, however many segments there are."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from typing import Final

MAX_IDLE: Final = 32
"""Connections kept for the next use; each holds a descriptor and up to 1 MiB of cache."""


class Connections:
    """Idle connections by file, the least recently used closed first.

    A connection is taken out while it is used, so that no other thread can use or close it.

    Args:
        limit: idle connections kept.
    """

    def __init__(self, limit: int = MAX_IDLE) -> None:
        self._limit = limit
        self._idle: OrderedDict[str, sqlite3.Connection] = OrderedDict()
        self._lock = threading.Lock()
        self._inherited: list[OrderedDict[str, sqlite3.Connection]] = []

    def take(self, name: str) -> sqlite3.Connection | None:
        """The connection of a file, to be given back; None if there is no idle one."""
        with self._lock:
            return self._idle.pop(name, None)

    def give_back(self, name: str, connection: sqlite3.Connection) -> None:
        """Keep a connection for the next use, instead of another one of the same file."""
        with self._lock:
            surplus = [self._idle.pop(name)] if name in self._idle else []
            self._idle[name] = connection
            while len(self._idle) > self._limit:
                surplus.append(self._idle.popitem(last=False)[1])
        for old in surplus:
            old.close()

    def close(self, name: str) -> None:
        """Close the idle connection of a file, if there is one."""
        connection = self.take(name)
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        """Start afresh in a forked process: SQLite forbids the use of its parent's connections.

        They are kept as they are, since closing them counts as use.
        """
        self._inherited.append(self._idle)
        self._idle = OrderedDict()
        self._lock = threading.Lock()
