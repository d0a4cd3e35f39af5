"""The scalar codebook of residuals and the range of inverse norms, from held-out vectors."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SUPPORTED_BITS: Final = (1, 2, 4, 8)
"""Bits per dimension that residuals can have."""

MAX_ROUNDS: Final = 200
"""Rounds of Lloyd's iteration at most; 8 bits need most."""

SETTLED: Final = 1e-5
"""Share of the residuals' range below which a weight's move ends the iteration."""

FEW_VALUES: Final = 64
"""Components per bucket below which those of the sample are not trusted to be its quantiles."""

SMALLEST_SPAN: Final = 0.1
"""Width of the inverse norm range at least, for samples whose norms hardly differ."""


def train_buckets(residuals: FloatArray, bits: int) -> tuple[FloatArray, FloatArray]:
    """Choose the buckets that lose least: Lloyd's iteration over all residual components.

    It starts from the equally frequent buckets of the ColBERTv2 paper and moves weights to the
    mean of their bucket and cutoffs to the middle between weights, until the squared error
    hardly falls. Equal frequency spends buckets where values are dense and lets the tails lose
    most of the error.

    Args:
        residuals: float32 [n, dim], embedding minus centroid, n at least 1.
        bits: 1, 2, 4 or 8.

    Returns:
        bucket_cutoffs float32 [2^bits - 1] and bucket_weights float32 [2^bits], both ascending;
        one codebook for all dimensions.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3; Lloyd 1982 (Least squares
    quantization in PCM).
    """
    values = np.sort(residuals.ravel())
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, dtype=np.float64, out=sums[1:])
    weights = _quantiles(values, (np.arange(1 << bits) + 0.5) / (1 << bits))
    for _ in range(MAX_ROUNDS):
        moved = _bucket_means(values, sums, weights)
        settled = np.abs(moved - weights).max() <= SETTLED * (values[-1] - values[0])
        weights = moved
        if settled:
            break
    return _middles(weights).astype(np.float32), weights.astype(np.float32)


def _middles(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return (weights[1:] + weights[:-1]) / 2


def _quantiles(values: FloatArray, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of sorted values; between them where they are few, or weights would coincide."""
    if len(values) < FEW_VALUES * len(shares):
        return np.quantile(values, shares).astype(np.float64)
    return values[(shares * len(values)).astype(np.int64)].astype(np.float64)


def _bucket_means(
    values: FloatArray, sums: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean of the values nearest to each weight; an empty bucket keeps its weight."""
    # In the dtype of the values: another would have them all converted.
    inner = np.searchsorted(values, _middles(weights).astype(values.dtype), side="left")
    edges = np.concatenate(([0], inner, [len(values)]))
    counts = np.diff(edges)
    means = np.diff(sums[edges]) / np.maximum(counts, 1)
    return np.where(counts > 0, means, weights)


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
