"""Threads for what would block the event loop, a lane for each kind of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from ... import kernels

Result = TypeVar("Result")

WRITERS: Final = 2
"""Changes that are encoded at a time; commits of one collection take turns anyway."""

HELPERS: Final = 4
"""For look-ups, records and files, which must not stand behind long encodings."""


class Lanes:
    """The pools of one process.

    Args:
        threads: that searches share; 0 is all cores.
    """

    def __init__(self, threads: int) -> None:
        self.cores = threads or kernels.default_threads()
        self._searching = 0
        self.searches = ThreadPoolExecutor(max(2, self.cores), "search")
        self.encoding = ThreadPoolExecutor(1, "encode")
        self.writes = ThreadPoolExecutor(WRITERS, "write")
        self.helpers = ThreadPoolExecutor(HELPERS, "help")
        self.ingestion = ThreadPoolExecutor(1, "ingest")
        self.removals = ThreadPoolExecutor(1, "remove")

    async def search(self, work: Callable[[int], Result]) -> Result:
        """Run a search, which is told how many threads it may use.

        One alone takes all cores; several share them, since together they are faster so.
        """
        self._searching += 1
        try:
            share = max(1, self.cores // self._searching)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.searches, work, share)
        finally:
            self._searching -= 1

    async def write(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Run a change."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.writes, partial(work, *args, **kwargs))

    async def help(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Run something short that waits for the disk."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.helpers, partial(work, *args, **kwargs))

    async def admin(self, work: Callable[..., Result], *args: Any) -> Result:
        """Run what may have to wait until all others are done with something."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.removals, partial(work, *args))

    def close(self) -> None:
        """Wait for what is under way; what has not begun is dropped."""
        pools = (self.removals, self.ingestion, self.writes)
        for pool in (*pools, self.searches, self.encoding, self.helpers):
            pool.shutdown(cancel_futures=True)
