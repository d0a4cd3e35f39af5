"""Uvicorn's HTTP protocol with bounds on what comes before a body: length, and time."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 64 * 1024
"""Of the request line and all headers."""

HEAD_SECONDS: Final = 20.0
"""In which they must have arrived, from the connection or from their first byte."""

_END: Final = b"content-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _END
TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\n" + _END


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose headers have no end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._in_head:
            if self._timer is None:
                self._start_timer()
            # What follows the head in the same piece is not of it: one piece more does no harm.
            if self._head_bytes > HEAD_BYTES:
                self._refuse(TOO_LARGE)
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head may come."""
        self._in_head = True
        super().on_message_complete()

    def _refuse(self, message: bytes) -> None:
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_timer()  # an earlier answer is on its way: not into the midst of it
        elif not self.transport.is_closing():
            self.transport.write(message)
            self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, TOO_SLOW)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
