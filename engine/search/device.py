"""Where coded segments are searched: on a GPU, or on the processor where that cannot be."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..codec import BuildDevice, Codec
from ..devices import named_error, say_once
from ..errors import DeviceUnavailableError, InvalidParameterError
from ..shown import shown
from .segments import SearchableSegment, refusals_of
from .shortlist import CodedPool

Found = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]

DEVICE_VARIABLE: Final = "WEFT_DEVICE"
"""Environment variable that names the device where none is given."""

Limits = tuple[int, int, int]
"""nprobe, ndocs and n_rescored."""

_LARGE: Final = ("codes", "residuals", "inverse_norms", "ivf_pids")

_logger = logging.getLogger(__name__)


class Searcher(Protocol):
    """What finds shortlists instead of the processor."""

    def search(self, pool: CodedPool, nprobe: int, ndocs: int, n_rescored: int) -> Found | None:
        """As `SearchDevice.search`."""

    def search_batch(
        self, pools: Sequence[CodedPool], nprobe: int, ndocs: int, n_rescored: int
    ) -> list[Found] | None:
        """As `SearchDevice.search_batch`."""


class SearchDevice:
    """A GPU that searches the coded segments of an index; safe to share by threads.

    Segments and codecs are copied to it when they are first searched, and stay there as long as
    they are open.

    Args:
        number: of the device.
        required: raise where the device refuses or fails, instead of searching without it.
    """

    def __init__(self, number: int, *, required: bool) -> None:
        self.number = number
        self.required = required
        self._codecs: WeakKeyDictionary[Codec, kernels.DeviceCodec] = WeakKeyDictionary()
        self._segments: WeakKeyDictionary[object, kernels.DeviceSegment] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._failed = False
        self._too_large: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """As `Index.open` takes it."""
        return f"cuda:{self.number}"

    @property
    def given_up(self) -> bool:
        """Whether searches go on without it."""
        return self._failed or bool(self._too_large)

    def for_building(self) -> BuildDevice:
        """The same GPU, for what is written."""
        return BuildDevice(self.number, required=self.required)

    def search(self, pool: CodedPool, nprobe: int, ndocs: int, n_rescored: int) -> Found | None:
        """The best passages of a pool; None where the processor must find them.

        Args:
            pool: segments and a query.
            nprobe, ndocs, n_rescored: as of `ByteSearch.shortlist`.

        Returns:
            Positions among the pool's segments, pids and scores, best first.

        Raises:
            DeviceMemoryError, DeviceFailedError: the device is required, and refused or failed.
            CorruptIndexError: a segment's data is damaged.
        """
        found = self.search_batch([pool], nprobe, ndocs, n_rescored)
        return None if found is None else found[0]

    def search_batch(
        self, pools: Sequence[CodedPool], nprobe: int, ndocs: int, n_rescored: int
    ) -> list[Found] | None:
        """`search` for several queries against the same segments, together."""
        try:
            return self._search(pools, nprobe, ndocs, n_rescored)
        except kernels.DeviceMemoryError as error:
            with self._lock:
                self._segments.clear()
                self._codecs.clear()
                self._too_large = _identity(pools[0])
            if self.required:
                raise named_error(self.name, error) from error
            _say_once(f"{self.name} is too small for the index ({error}): searching without it")
        except kernels.DeviceError as error:
            self._failed = True
            if self.required:
                raise named_error(self.name, error) from error
            _say_once(f"{self.name} failed ({error}): searching without it")
        return None

    def _search(
        self, pools: Sequence[CodedPool], nprobe: int, ndocs: int, n_rescored: int
    ) -> list[Found] | None:
        pool = pools[0]
        if not self.required and (self._failed or self._too_large == _identity(pool)):
            return None
        if pool.codec.dim > kernels.MAX_DEVICE_DIM:
            _say_once(f"{self.name} takes dim up to {kernels.MAX_DEVICE_DIM}: searching without it")
            return None
        with self._lock:
            codec = self._held_codec(pool.codec)
            segments = [self._held_segment(segment) for segment in pool.segments.values()]
        with refusals_of("A compressed segment"):
            found = codec.search_batch(
                [one.rotated_query for one in pools],
                segments,
                [pool.wanted[number] for number in pool.segments],
                nprobe=nprobe,
                n_candidates=ndocs,
                n_rescored=n_rescored,
                n_exact=pool.plan.n_exact,
            )
        return [(positions, pids, scores) for positions, pids, scores, _ in found]

    def _held_codec(self, codec: Codec) -> kernels.DeviceCodec:
        if codec not in self._codecs:
            self._codecs[codec] = kernels.device_codec(
                codec.centroids,
                codec.bucket_weights,
                (float(codec.inverse_norm_range[0]), float(codec.inverse_norm_range[1])),
                device=self.number,
            )
        return self._codecs[codec]

    def _held_segment(self, segment: SearchableSegment) -> kernels.DeviceSegment:
        if segment.files not in self._segments:
            for name in _LARGE:
                segment.touch(name, np.array([0]), np.array([len(getattr(segment, name))]))
            with refusals_of(segment):
                self._segments[segment.files] = kernels.device_segment(
                    segment.codes,
                    segment.residuals,
                    segment.inverse_norms,
                    segment.ivf_centroids,
                    segment.ivf_offsets,
                    segment.ivf_pids,
                    segment.offsets,
                    segment.n_centroids,
                    device=self.number,
                )
        return self._segments[segment.files]


@dataclass(frozen=True, eq=False, slots=True)
class Together:
    """What a device has found for several queries at once, and the device for what is left.

    Args:
        device: that found it.
        limits: with which.
        found: by the query's array and the codec; each is handed out once.
    """

    device: Searcher
    limits: Limits
    found: dict[tuple[int, int], Found]

    @classmethod
    def of(cls, device: Searcher, pools: Sequence[Sequence[CodedPool]], limits: Limits) -> Together:
        """Search pools that differ in their query only, all of one codec together."""
        found: dict[tuple[int, int], Found] = {}
        for same in pools:
            answers = device.search_batch(same, *limits)
            if answers is not None:
                found |= zip(map(_key, same), answers, strict=True)
        return cls(device, limits, found)

    def search(self, pool: CodedPool, nprobe: int, ndocs: int, n_rescored: int) -> Found | None:
        """What was found for the pool's query, or what the device finds now."""
        known = None
        if self.limits == (nprobe, ndocs, n_rescored):
            known = self.found.pop(_key(pool), None)
        return known or self.device.search(pool, nprobe, ndocs, n_rescored)

    def search_batch(
        self, pools: Sequence[CodedPool], nprobe: int, ndocs: int, n_rescored: int
    ) -> list[Found] | None:
        """What the device finds."""
        return self.device.search_batch(pools, nprobe, ndocs, n_rescored)


def _key(pool: CodedPool) -> tuple[int, int]:
    return id(pool.query), id(pool.codec)


def choose_device(device: str | None) -> SearchDevice | None:
    """What a device's name stands for; None is the processor.

    Args:
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where one can be used; None for
            what WEFT_DEVICE says, or "cpu".

    Raises:
        InvalidParameterError: no such name.
        DeviceUnavailableError: a GPU is asked for and there is none; says why.
    """
    name = os.environ.get(DEVICE_VARIABLE, "cpu") if device is None else device
    match = re.fullmatch(r"cpu|auto|cuda(?::(\d{1,3}))?", name) if isinstance(name, str) else None
    if match is None:
        raise InvalidParameterError(
            f"device is {shown(name)}: use 'cpu', 'cuda', 'cuda:N' or 'auto'."
        )
    if name == "cpu":
        return None
    number = int(match[1] or 0)
    status = kernels.cuda_status(number)
    if status.usable:
        return SearchDevice(number, required=name != "auto")
    if name == "auto":
        _say_once(f"no GPU can be used: {status.reason}; searching on the processor")
        return None
    raise DeviceUnavailableError(
        f"device={name!r} cannot be used: {status.reason}. Use device='cpu', or 'auto' to take a "
        "GPU only where there is one."
    )


def _identity(pool: CodedPool) -> frozenset[int]:
    """Which segments are searched."""
    return frozenset(id(segment.files) for segment in pool.segments.values())


def _say_once(message: str) -> None:
    say_once(_logger, message)
