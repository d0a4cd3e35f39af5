"""Encoders that collections share, and query texts of different requests encoded together."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...engine.encoder.base import Encoder
from ...engine.errors import WeftError
from ...engine.identity import EncoderLike
from ...engine.validation import check_query_text
from .metrics import metrics

logger = logging.getLogger("weft.service")

FloatArray = NDArray[np.float32]

MOST_TOGETHER: Final = 32
"""Texts of one call of the encoder, so that nobody waits for a crowd."""


class Encoders:
    """Loads each encoder once, whichever collections use it.

    Args:
        given: of new collections; None is weft-mini.
    """

    def __init__(self, given: EncoderLike | None) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._default: Encoder | None = given if isinstance(given, Encoder) else None
        self._loaded: dict[str, Encoder] = {}
        if self._default is not None:
            self._keep(self._default)

    def default(self) -> Encoder:
        """The encoder of new collections.

        Raises:
            CheckpointError, MissingDependencyError: it cannot be loaded.
        """
        with self._lock:
            if self._default is None:
                from ...engine.encoder import load_encoder

                given = None if self._given is None else str(self._given)
                self._default = self._keep(load_encoder(given))
            return self._default

    def for_index(self, recorded: Mapping[str, Any] | None) -> Encoder | None:
        """The encoder that an index was made with; None where it has none, or it is not here."""
        if recorded is None:
            return None
        content = str(recorded.get("content_hash"))
        with self._lock:
            if content in self._loaded:
                return self._loaded[content]
            try:
                from ...engine.encoder import load_encoder

                return self._keep(load_encoder(recorded.get("source")))
            except WeftError as error:
                logger.warning("An encoder cannot be loaded: %s", error)
                return None

    def _keep(self, encoder: Encoder) -> Encoder:
        return self._loaded.setdefault(encoder.identity.content_hash, encoder)


class QueryEncoding:
    """Encodes the query texts that arrive while the encoder is busy in one call after it.

    Nobody is made to wait for others to come: alone, a query is encoded at once.

    Args:
        pool: of one thread.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._lines: dict[int, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def encode(self, encoder: Encoder, texts: Sequence[str]) -> list[FloatArray]:
        """The vectors that a search would use, float32 [nq, dim] per text.

        Raises:
            InvalidQueryError: a text is empty or too long.
        """
        checked = [check_query_text(text) for text in texts]
        waiting = _Waiting(checked, asyncio.get_running_loop().create_future())
        line = self._lines.get(id(encoder))
        if line is not None:
            line.append(waiting)
        else:
            self._lines[id(encoder)] = line = deque([waiting])
            task = asyncio.create_task(self._work(encoder, line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiting.future

    async def _work(self, encoder: Encoder, line: deque[_Waiting]) -> None:
        """Encode until nobody waits any more."""
        while line:
            batch = [line.popleft()]
            while line and sum(len(w.texts) for w in batch) + len(line[0].texts) <= MOST_TOGETHER:
                batch.append(line.popleft())
            await self._encode(encoder, batch)
        del self._lines[id(encoder)]

    async def _encode(self, encoder: Encoder, batch: list[_Waiting]) -> None:
        texts = [text for waiting in batch for text in waiting.texts]
        metrics().encode_batch.observe(len(texts))
        loop = asyncio.get_running_loop()
        try:
            arrays = iter(await loop.run_in_executor(self._pool, encoder.encode_queries, texts))
        except Exception as error:  # noqa: BLE001 - it is raised where the text came from
            if len(batch) == 1:
                batch[0].fail(error)
                return
            for waiting in batch:
                await self._encode(encoder, [waiting])
            return
        for waiting in batch:
            waiting.succeed([next(arrays) for _ in waiting.texts])


class _Waiting:
    """Texts of one request, and who waits for them."""

    def __init__(self, texts: list[str], future: asyncio.Future[list[FloatArray]]) -> None:
        self.texts = texts
        self.future = future

    def succeed(self, arrays: list[FloatArray]) -> None:
        if not self.future.done():
            self.future.set_result(arrays)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
