"""Making the next things while the last ones are worked on, in one thread."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    """No more items: there are none, or making one raised an error."""

    error: BaseException | None = None


def made_ahead(items: Generator[T], at_most: int) -> Generator[T]:
    """The same items in the same order, the next of which are made meanwhile by another thread.

    An error that making one raises is raised in its place. When the iterator is closed, after an
    interrupt for example, no further item is begun, and the one that is being made is waited for.

    Args:
        items: used by that thread alone, which closes it.
        at_most: items that wait, the one that is being made included; at least 1.
    """
    made: SimpleQueue[T | _End] = SimpleQueue()
    room = threading.Semaphore(at_most)
    over = threading.Event()

    def make() -> None:
        try:
            while True:
                room.acquire()
                if over.is_set():
                    items.close()
                    return
                made.put(next(items))
        except StopIteration:
            made.put(_End())
        except BaseException as error:  # noqa: BLE001 - it is raised where the item was to come
            made.put(_End(error))

    # A daemon: an iterator that nobody closes must not keep the process from ending.
    thread = threading.Thread(target=make, name="weft-making-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            room.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        over.set()
        room.release()
        thread.join()
