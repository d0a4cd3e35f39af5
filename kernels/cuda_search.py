"""Search over coded segments on a GPU: the contract of `coded_search.py`, arrays on the device.

Results are those of the search in bytes on a target with 127 query levels, up to the last bits of
sums that a GPU adds up in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from .arrays import F32, I64, U8, U32, Codes, Mask, Range
from .cuda_device import cuda_module

MAX_DEVICE_DIM: Final = 1024
"""Components of an embedding that a device takes."""

Place = Literal["auto", "device", "host"]


class DeviceSegment(Protocol):
    """A segment's arrays on a device; made by `device_segment`."""

    @property
    def n_passages(self) -> int:
        """Passages, those that may not be found included."""

    @property
    def device_bytes(self) -> int:
        """Memory of the device that the segment takes."""

    @property
    def residuals_on_device(self) -> bool:
        """False where they lie in pinned memory of the host."""


class DeviceCodec(Protocol):
    """A codec on a device, with the working memory of its queries; safe for threads.

    Each search has a stream of its own and runs as one CUDA graph, which is recorded when its
    parameters are first seen.
    """

    def search(
        self,
        query: F32,
        segments: list[DeviceSegment],
        allowed: list[Mask | None],
        *,
        nprobe: int,
        n_candidates: int,
        n_rescored: int,
        n_exact: int,
        threads: int = 0,
    ) -> tuple[U32, U32, F32, I64]:
        """What `SearchCodec.search` does; nothing is ever left to be checked.

        Raises:
            DeviceMemoryError: the device has no room for one query's working memory.
            DeviceFailedError: the device failed, now or in an earlier search.
        """

    def search_batch(
        self,
        queries: Sequence[F32],
        segments: list[DeviceSegment],
        allowed: list[Mask | None],
        *,
        nprobe: int,
        n_candidates: int,
        n_rescored: int,
        n_exact: int,
    ) -> list[tuple[U32, U32, F32, I64]]:
        """`search` for several queries, up to 32 at once, which read the centroids together."""


def device_codec(
    centroids: F32, bucket_weights: F32, inverse_norm_range: Range, *, device: int = 0
) -> DeviceCodec:
    """Put a codec on a device.

    Args:
        centroids: float32 [K, dim], finite, K at least 1, dim at most `MAX_DEVICE_DIM`.
        bucket_weights: float32 [2^bits], bits 1, 2, 4 or 8.
        inverse_norm_range: what bytes 0 and 255 of an inverse norm stand for.
        device: its number.

    Raises:
        DeviceUnavailableError: there is no device.
        DeviceMemoryError, DeviceFailedError: it cannot hold the codec.
    """
    codec: DeviceCodec = cuda_module().DeviceCodec(
        centroids, bucket_weights, inverse_norm_range, device
    )
    return codec


def device_segment(
    codes: Codes,
    residuals: U8,
    inverse_norms: U8,
    ivf_centroids: U32 | None,
    ivf_offsets: I64,
    ivf_pids: U32,
    offsets: I64,
    n_centroids: int,
    *,
    device: int = 0,
    residuals_on: Place = "auto",
) -> DeviceSegment:
    """Copy a segment's arrays to a device; all of them are read and every value is checked.

    Args:
        codes, residuals, inverse_norms, ivf_centroids, ivf_offsets, ivf_pids, offsets,
            n_centroids: as of `coded_segment`.
        device: its number.
        residuals_on: "device"; "host" for pinned memory, from which the residuals of the passages
            that are scored last are read over the bus; "auto" for the device while that leaves
            a tenth of its memory free.

    Raises:
        ValueError: a code, pid, offset or list that a sound segment cannot hold.
        DeviceUnavailableError: there is no device.
        DeviceMemoryError, DeviceFailedError: it cannot hold the segment.
    """
    segment: DeviceSegment = cuda_module().DeviceSegment(
        codes,
        residuals,
        inverse_norms,
        ivf_centroids,
        ivf_offsets,
        ivf_pids,
        offsets,
        n_centroids,
        device,
        residuals_on,
    )
    return segment
