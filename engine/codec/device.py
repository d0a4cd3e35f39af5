"""Assignment and compression on a GPU, for as many embeddings at a time as make it worth while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..devices import named_error, say_once
from .model import Codec, Compressed, Rows

LEAST_ROWS: Final = 1 << 14
"""Embeddings of a call, some two hundred passages, from which a device is asked. The processor is
done with fewer in some milliseconds, so that what is added now and then need not take a codec's
memory there. Reckoned, not measured."""

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class BuildDevice:
    """A GPU that compresses embeddings and assigns them to centroids; safe to share by threads.

    An embedding is compared with all centroids, where the processor looks into the nearest cells
    only, so that some get a nearer centroid than they would there; residuals and inverse norms
    are byte for byte what the processor makes of those codes.

    A codec is copied to it when it first compresses with it, and stays there as long as it is open.
    Memory that is lacking now may be there later, so that it is asked for each time.

    Args:
        number: of the device.
        required: raise where the device refuses or fails, instead of leaving it to the processor.
    """

    def __init__(self, number: int, *, required: bool) -> None:
        self.number = number
        self.required = required
        self._builders: WeakKeyDictionary[Codec, kernels.DeviceBuilder] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._failed = False

    @property
    def name(self) -> str:
        """As `Index.open` takes it."""
        return f"cuda:{self.number}"

    def compress(self, codec: Codec, rows: Rows) -> Compressed | None:
        """What `Codec.compress` returns; None where the processor must do it.

        Args:
            codec: to compress with.
            rows: float32 or float16 [n, dim], finite, rotated.

        Raises:
            DeviceMemoryError, DeviceFailedError: the device is required, and refused or failed.
        """

        def work() -> Compressed:
            builder = self._builder(codec)
            codes, cosines = builder.assign(rows)
            residuals, inverse_norms = builder.compress(
                rows,
                codes,
                codec.bucket_cutoffs,
                codec.bucket_weights,
                (float(codec.inverse_norm_range[0]), float(codec.inverse_norm_range[1])),
            )
            narrow = codec.code_dtype is np.uint16
            stored = codes.astype(np.uint16) if narrow else codes
            return Compressed(stored, residuals, inverse_norms, cosines)

        return self._attempt(rows, work, codec)

    def assign(
        self, codec: Codec, rows: Rows
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]] | None:
        """uint32 [n] codes of rotated rows and float32 [n] cosines; otherwise as `compress`."""
        return self._attempt(rows, lambda: self._builder(codec).assign(rows), codec)

    def nearest(
        self, rows: Rows, centroids: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]] | None:
        """The same for centroids that are no codec yet: of k-means."""

        def work() -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
            return kernels.device_builder(centroids, device=self.number).assign(rows)

        return self._attempt(rows, work)

    def _builder(self, codec: Codec) -> kernels.DeviceBuilder:
        with self._lock:
            if codec not in self._builders:
                self._builders[codec] = kernels.device_builder(codec.centroids, device=self.number)
            return self._builders[codec]

    def _attempt(self, rows: Rows, work: Callable[[], T], codec: Codec | None = None) -> T | None:
        if len(rows) < LEAST_ROWS or (self._failed and not self.required):
            return None
        if rows.shape[1] > kernels.MAX_DEVICE_DIM:
            say_once(
                _logger,
                f"{self.name} takes dim up to {kernels.MAX_DEVICE_DIM}: compressing without it",
            )
            return None
        try:
            return work()
        except kernels.DeviceError as error:
            self._forget(codec)
            lacks_memory = isinstance(error, kernels.DeviceMemoryError)
            self._failed = self._failed or not lacks_memory
            if self.required:
                raise named_error(self.name, error) from error
            why = "has too little memory" if lacks_memory else "failed"
            say_once(_logger, f"{self.name} {why} ({error}): compressing without it")
            return None

    def _forget(self, codec: Codec | None) -> None:
        """Let go of a codec's memory on the device."""
        with self._lock:
            if codec is not None:
                self._builders.pop(codec, None)
