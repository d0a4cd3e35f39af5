"""What building an index asks of a GPU: assignment, compression and k-means."""

from __future__ import annotations

from typing import Protocol

from .arrays import F32, U8, U32, Embeddings, Range
from .cuda_device import cuda_module


class DeviceBuilder(Protocol):
    """Centroids on a device; threads take turns. Made by `device_builder`."""

    def assign(self, embeddings: Embeddings) -> tuple[U32, F32]:
        """Give each embedding its nearest centroid.

        Products are compared in bfloat16, and the two best of each embedding once more in
        float32. A better centroid is missed where by rounding two others come before it, or one
        of the sixteen that a thread compares with it at a time.

        Args:
            embeddings: float32 or float16 [n, dim], finite.

        Returns:
            uint32 [n] codes, the lower in a tie, and float32 [n] their dot products.
        """

    def compress(
        self,
        embeddings: Embeddings,
        codes: U32,
        bucket_cutoffs: F32,
        bucket_weights: F32,
        inverse_norm_range: Range,
    ) -> tuple[U8, U8]:
        """What `weft.kernels.compress` does, byte for byte.

        Args:
            embeddings: float32 or float16 [n, dim], finite.
            codes: uint32 [n], below K.
            bucket_cutoffs: float32 [2^bits - 1], ascending.
            bucket_weights: float32 [2^bits].
            inverse_norm_range: what bytes 0 and 255 of an inverse norm stand for.

        Returns:
            uint8 [n, ceil(dim * bits / 8)] residuals and uint8 [n] inverse norms.
        """

    def refine(self, embeddings: Embeddings, iterations: int) -> None:
        """Spherical k-means from the centroids on, which become the result.

        A centroid is the direction of the sum of the embeddings assigned to it, and stays where
        there are none. Sums are exact, so that every run gives the same bits.

        Args:
            embeddings: float32 or float16 [n, dim], components within [-2, 2].
            iterations: 0 to 1,000.
        """

    def centroids(self) -> F32:
        """float32 [K, dim], as they are now."""


def device_builder(centroids: F32, *, device: int = 0) -> DeviceBuilder:
    """Put centroids on a device.

    Args:
        centroids: float32 [K, dim], finite, K at least 1, dim at most `MAX_DEVICE_DIM`.
        device: its number.

    Raises:
        DeviceUnavailableError: there is no device.
        DeviceMemoryError, DeviceFailedError: it cannot hold them; methods raise these as well.
    """
    builder: DeviceBuilder = cuda_module().DeviceBuilder(centroids, device)
    return builder
