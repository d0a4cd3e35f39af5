"""What a working process keeps of an index: reader, writer, inbox, lease, and the encoder."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ..engine.closing import Closing
from ..engine.documents import Document
from ..engine.encoder.base import Encoder
from ..engine.errors import WriterClosedError
from ..engine.identity import EncoderLike, EncoderSlot
from ..engine.ingest import encoded_batches
from ..engine.search.device import choose_device
from ..engine.storage.batch import EncodedBatch
from ..engine.storage.reader import Reader
from ..engine.storage.sequences import Applied
from ..engine.storage.writer import Writer
from .inbox import Inbox
from .leases import LEASE_SECONDS, Lease

logger = logging.getLogger(__name__)


class IngestContext(Closing):
    """An open index as a worker uses it. Safe to share by threads, not by forks.

    Args:
        path: of the index.
        encoder: where the index's encoder is now, if it is not where it was.
        threads: for compression; 0 is all cores.
        lease_seconds: after which this process counts as dead when it is silent.

    Where WEFT_DEVICE names a GPU, it encodes and compresses there.

    Raises:
        IndexNotFoundError, CorruptIndexError, UnsupportedFormatError, DeviceUnavailableError: as
            `Index.open`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: EncoderLike | None = None,
        threads: int = 0,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        # Here and not in whoever made it: what has begun to use a GPU must not fork.
        device = choose_device(None)
        self._device = None if device is None else device.for_building()
        self.reader = Reader(path)
        self.directory = self.reader.directory
        self.inbox = Inbox(self.directory)
        self.lease = Lease(self.directory, seconds=lease_seconds)
        self.in_hand: set[int] = set()
        # Changes whose files cannot be read, and since when.
        self.unreadable: dict[int, float] = {}
        self.lock = threading.Lock()
        self._threads = threads
        self._writer: Writer | None = None
        self._slot = EncoderSlot(encoder)
        self._slot.device = None if device is None else device.name
        with self.reader.snapshot() as base:
            self._slot.expect(base.manifest.encoder, base.manifest.dim)
            self.index_uuid = base.manifest.index_uuid

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when it is first asked for."""
        return self._slot.get()

    @property
    def has_encoder(self) -> bool:
        """Whether texts can be encoded."""
        return self._slot.record() is not None

    def encode(self, documents: Sequence[Document]) -> Iterator[EncodedBatch]:
        """Split and encode documents, a bounded batch at a time, in their order."""
        return encoded_batches(documents, self.encoder)

    @property
    def writer(self) -> Writer:
        """The writer; a new one after the last has ended, by a failed fsync for example."""
        with self.lock:
            if self._writer is None:
                self._writer = Writer(
                    self.directory,
                    threads=self._threads,
                    reader=self.reader,
                    device=self._device,
                )
            return self._writer

    def renounce(self, error: BaseException) -> None:
        """Give up the writer if an error says that it has ended."""
        with self.lock:
            if isinstance(error, WriterClosedError) or (
                self._writer is not None and self._writer.closed
            ):
                self._writer = None

    def applied(self) -> Applied:
        """What the newest generation has applied."""
        with self.reader.snapshot() as base:
            return Applied.of(base.manifest)

    def close(self) -> None:
        """Let go of the index."""
        with self.lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self.lease.close()
        self.reader.close()


class Contexts:
    """The contexts of a process, each opened when it is first needed.

    Args:
        encoder: for all of them; see `IngestContext`.
        threads: for compression; 0 is all cores.
        lease_seconds: see `IngestContext`.
    """

    def __init__(
        self,
        encoder: EncoderLike | None = None,
        threads: int = 0,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._open_one = partial(
            IngestContext, encoder=encoder, threads=threads, lease_seconds=lease_seconds
        )
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._open: dict[Path, IngestContext] = {}

    def get(self, path: Path) -> IngestContext:
        """The context of an index; one per process, so that a model is loaded once.

        Raises:
            IndexNotFoundError, CorruptIndexError, UnsupportedFormatError: as `Index.open`.
        """
        with self._lock:
            if self._process != os.getpid():
                # Files and threads of the parent are not ours to use, nor to close.
                self._process, self._open = os.getpid(), {}
            if path not in self._open:
                self._open[path] = self._open_one(path)
            return self._open[path]

    def close(self) -> None:
        """Let go of all of them."""
        with self._lock:
            opened, self._open = self._open, {}
        if self._process == os.getpid():
            for context in opened.values():
                context.close()
