"""Celery's transport to Redis, with one of its faults mended."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual
from redis.exceptions import OutOfMemoryError, ReadOnlyError


class QoS(redis.QoS):
    """Messages that were taken and not acknowledged yet.

    Where Redis is away when a task ends, Kombu keeps its message as one that is still worked on.
    With a prefetch of 1 the worker then asks for nothing more, so that it never notices that its
    connection is gone, and hangs for ever. Here the message is let go, whatever becomes of the
    acknowledgement: should it come again, its task finds nothing left to do.
    """

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message; it counts as taken no more, even if that fails."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Give a message back; it counts as taken no more, even if that fails."""
        try:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]
        except BaseException:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise


class Channel(redis.Channel):
    """A channel that counts with `QoS`."""

    QoS = QoS


class Transport(redis.Transport):  # type: ignore[misc,unused-ignore]
    """For `redis://` URLs.

    A Redis that refuses commands for a while, for want of memory or as a replica, is one to connect
    to again; to Kombu that is a fault of the channel, which ends the worker.
    """

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, OutOfMemoryError, ReadOnlyError)
