"""The scalar codebook of residuals and the range of inverse norms, from held-out vectors."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SUPPORTED_BITS: Final = (1, 2, 4, 8)
"""Bits per dimension that residuals can have."""

SMALLEST_SPAN: Final = 0.1
"""Width of the inverse norm range at least, for samples whose norms hardly differ."""


def train_buckets(residuals: FloatArray, bits: int) -> tuple[FloatArray, FloatArray]:
    """Cut the distribution of residual components into 2^bits equally frequent buckets.

    Args:
        residuals: float32 [n, dim], embedding minus centroid, n at least 1.
        bits: 1, 2, 4 or 8.

    Returns:
        bucket_cutoffs float32 [2^bits - 1] at the quantiles i/2^bits, and bucket_weights
        float32 [2^bits] at (i + 1/2)/2^bits; one codebook for all dimensions.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3.
    """
    n_buckets = 1 << bits
    steps = np.arange(2 * n_buckets, dtype=np.float64) / (2 * n_buckets)
    quantiles = np.quantile(residuals.ravel(), steps[1:]).astype(np.float32)
    # Odd multiples of half a bucket are the middles, even ones the borders.
    return np.ascontiguousarray(quantiles[1::2]), np.ascontiguousarray(quantiles[0::2])


def inverse_norm_range(inverse_norms: NDArray[np.floating]) -> FloatArray:
    """The interval that one byte divides: the sample's own, widened by half on each side.

    Args:
        inverse_norms: floats [n], positive, of held-out reconstructions, n at least 1.

    Returns:
        float32 [2]: low and high, 0 < low < high.
    """
    low, high = float(inverse_norms.min()), float(inverse_norms.max())
    margin = max((high - low) / 2, (SMALLEST_SPAN - (high - low)) / 2)
    # An inverse norm is positive; a wide sample must not push the lower end below.
    return np.array([max(low - margin, low / 2), high + margin], dtype=np.float32)
