"""Actors that work on one index by turns, one call of the directory at a time, in a drawn order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from weft.engine.storage.directory import LocalDirectory

CALLS = (
    "create", "publish", "sync_folder", "read", "list", "exists", "status", "touch", "remove",
)  # fmt: skip


class Turns:
    """Lets one of several threads run at a time, for some calls, then another one.

    Args:
        seed: of the order.
        n_actors: threads.
    """

    def __init__(self, seed: int, n_actors: int) -> None:
        self._random = Random(seed)
        self._alive = list(range(n_actors))
        self._changed = threading.Condition()
        self._draw()

    def _draw(self) -> None:
        """Long stretches and single calls: both hide faults from the other."""
        self._current = self._random.choice(self._alive) if self._alive else -1
        self._left = self._random.choice((1, 1, 2, 4, 8, 30))

    def step(self, actor: int) -> None:
        """Wait for the turn of an actor's next call."""
        with self._changed:
            if self._current == actor:
                self._left -= 1
                if self._left < 0:
                    self._draw()
                    self._changed.notify_all()
            self._changed.wait_for(lambda: self._current == actor)

    def leave(self, actor: int) -> None:
        """An actor has finished."""
        with self._changed:
            self._alive.remove(actor)
            if self._current == actor:
                self._draw()
            self._changed.notify_all()


class StepwiseDirectory(LocalDirectory):
    """A directory whose every call waits for its actor's turn, once it has any."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, durable=False)
        self.before: Callable[[], None] | None = None

    def __getattribute__(self, name: str) -> Any:
        if name in CALLS:
            before = object.__getattribute__(self, "before")
            if before is not None:
                before()
        return super().__getattribute__(name)


def interleave(
    seed: int, actors: Sequence[tuple[StepwiseDirectory, Callable[[], object]]]
) -> list[object]:
    """Run actors by turns.

    Returns:
        What each has returned, or the exception that it ended with.
    """
    turns = Turns(seed, len(actors))
    outcomes: list[object] = [None] * len(actors)

    def run(number: int, work: Callable[[], object]) -> None:
        try:
            turns.step(number)
            outcomes[number] = work()
        except Exception as error:  # noqa: BLE001 the caller tells which ones may be
            outcomes[number] = error
        finally:
            turns.leave(number)

    threads = []
    for number, (directory, work) in enumerate(actors):
        directory.before = lambda number=number: turns.step(number)
        threads.append(threading.Thread(target=run, args=(number, work)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for directory, _ in actors:
        directory.before = None
    return outcomes
