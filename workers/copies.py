"""Tells when workers of one broker serve copies of an index, which have its UUID and its queues."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

NOTED_SECONDS: Final = 60
"""How long Redis remembers which folder an index was seen in; workers say so more often."""


class Copies:
    """Notes in Redis which folder each index is in, and warns where another one is noted.

    A copy made by `cp -r` has the UUID of its original. Both are told apart by the folders'
    numbers in their file systems, which are the same wherever a network file system is mounted.
    Nothing is lost where two share their queues, but messages for one wake the workers of the
    other, so that submissions may have to wait for a sweep.

    Args:
        app: with a broker.
        paths: folders of the indexes, by UUID.
    """

    def __init__(self, app: Celery, paths: Mapping[str, Path]) -> None:
        self._app = app
        self._paths = paths
        self._warned: set[str] = set()

    def look(self) -> None:
        """Note where the indexes are, and warn once of each that is elsewhere as well."""
        from kombu.exceptions import OperationalError
        from redis.exceptions import RedisError

        if not str(self._app.conf.broker_url).startswith(("redis://", "rediss://")):
            return
        try:
            with self._app.connection_for_write() as connection:
                client = connection.default_channel.client
                for uuid, path in self._paths.items():
                    if uuid not in self._warned:
                        self._look(client, uuid, path)
        except (OperationalError, RedisError, OSError) as error:
            logger.debug("Redis could not be asked about copies: %s", error)

    def _look(self, client: Any, uuid: str, path: Path) -> None:
        key, here = f"weft.folder.{uuid}", str(path.stat().st_ino)
        client.set(key, here, nx=True, ex=NOTED_SECONDS)
        noted = client.get(key)
        there = noted.decode() if isinstance(noted, bytes) else noted
        if there in (None, here):
            client.expire(key, NOTED_SECONDS)
            return
        self._warned.add(uuid)
        logger.warning(
            "%s is a copy of an index that other workers of this broker serve, or the other way "
            "round: both are woken by messages for either, and submissions may wait for the next "
            "sweep. Give one of them a Redis database of its own, such as %s.",
            path,
            "redis://host:6379/1",
        )
