"""Types of the arrays that kernels take, and the checks that the reference makes of them.

The native module makes the same checks: `TypeError` for what is no array or has another
dtype, `ValueError` for a wrong shape, a gap in memory, or a value outside its range.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F16: TypeAlias = NDArray[np.float16]
U8: TypeAlias = NDArray[np.uint8]
U32: TypeAlias = NDArray[np.uint32]
I64: TypeAlias = NDArray[np.int64]
Embeddings: TypeAlias = NDArray[np.float32] | NDArray[np.float16]
Codes: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32]
Mask: TypeAlias = NDArray[np.bool_] | NDArray[np.uint8]
Range: TypeAlias = Sequence[float] | NDArray[np.float32]

MAX_DIM: Final = 4096
"""Components of one embedding."""

MAX_COLUMNS: Final = 1 << 20
"""Columns of scores: vectors of one query."""

MAX_THREADS: Final = 256
"""Threads of one call."""

BITS: Final = (1, 2, 4, 8)
"""Residual bits per dimension."""


def require_array(name: str, array: object, dtypes: Sequence[Any], ndim: int) -> None:
    """Raise unless `array` is a C-contiguous array of one of the dtypes and of that rank."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, got {type(array).__name__}")
    if array.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        expected = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise TypeError(f"{name}: expected dtype {expected}, got {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimensions, got {array.ndim}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: must be C-contiguous; pass numpy.ascontiguousarray({name})")
    if not array.flags.aligned:
        raise ValueError(f"{name}: must be aligned in memory; pass {name}.copy()")


def require_equal(name: str, got: int, expected: int, what: str) -> None:
    """Raise unless a length is what another argument makes it."""
    if got != expected:
        raise ValueError(f"{name}: expected {expected} {what}, got {got}")


def require_range(name: str, value: int, low: int, high: int) -> int:
    """The value as an int; raise unless it lies in `[low, high]`."""
    number = operator.index(value)
    if not low <= number <= high:
        raise ValueError(f"{name}: must lie in [{low}, {high}], got {number}")
    return number


def require_finite(name: str, array: NDArray[Any]) -> None:
    """Raise if the array holds NaN or infinity."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: holds NaN or infinity")


def require_below(name: str, array: NDArray[Any], bound: int) -> None:
    """Raise if an element is not below the bound."""
    if array.size and int(array.max()) >= bound:
        raise ValueError(f"{name}: {int(array.max())} is not below {bound}")


def require_vectors(name: str, array: Embeddings, dtypes: Sequence[Any] = (np.float32,)) -> None:
    """Raise unless the array is rows of 1 to `MAX_DIM` components."""
    require_array(name, array, dtypes, 2)
    if not 1 <= array.shape[1] <= MAX_DIM:
        raise ValueError(f"{name}: dim must lie in [1, {MAX_DIM}], got {array.shape[1]}")


def require_query(query: F32) -> None:
    """Raise unless the query is at least one finite vector."""
    require_vectors("query", query)
    if query.shape[0] < 1:
        raise ValueError("query: expected at least one vector, got 0")
    require_finite("query", query)


def require_centroids(centroids: F32, dim: int, name: str = "centroids") -> None:
    """Raise unless there is a centroid and all are of that dim."""
    require_vectors(name, centroids)
    require_equal(name, centroids.shape[1], dim, "components, as embeddings have")
    if centroids.shape[0] < 1:
        raise ValueError(f"{name}: expected at least one, got 0")


def require_scores(scores: F32) -> None:
    """Raise unless scores are rows of 1 to `MAX_COLUMNS` columns."""
    require_array("scores", scores, (np.float32,), 2)
    if not 1 <= scores.shape[1] <= MAX_COLUMNS:
        got = scores.shape[1]
        raise ValueError(f"scores: columns must lie in [1, {MAX_COLUMNS}], got {got}")


def require_threads(threads: int) -> None:
    """Raise unless the number of threads is 0 (the default) or usable."""
    require_range("threads", threads, 0, MAX_THREADS)


def inverse_norm_values(inverse_norm_range: Range) -> F32:
    """The inverse norm that each of the 256 bytes stands for, float32 [256]."""
    low, high = require_inverse_norm_range(inverse_norm_range)
    return (low + np.arange(256) * ((high - low) / 255.0)).astype(np.float32)


def require_inverse_norm_range(inverse_norm_range: Range) -> tuple[float, float]:
    """The range as two floats; raise unless both are finite and in order."""
    if len(inverse_norm_range) != 2:
        raise ValueError("inverse_norm_range: expected two numbers")
    low, high = float(inverse_norm_range[0]), float(inverse_norm_range[1])
    if not (np.isfinite(high - low) and low <= high):
        raise ValueError(f"inverse_norm_range: not a range of finite numbers: ({low}, {high})")
    return low, high


def require_weights(bucket_weights: F32) -> int:
    """The bits per dimension that the number of weights stands for."""
    require_array("bucket_weights", bucket_weights, (np.float32,), 1)
    require_finite("bucket_weights", bucket_weights)
    for bits in BITS:
        if bucket_weights.size == 1 << bits:
            return bits
    raise ValueError(f"bucket_weights: expected 2, 4, 16 or 256, got {bucket_weights.size}")


def passage_slices(offsets: I64, pids: U32 | None, n_rows: int) -> list[slice]:
    """The rows of each visited passage; raise on a pid or an offset outside its range."""
    require_array("offsets", offsets, (np.int64,), 1)
    if offsets.size < 1:
        raise ValueError("offsets: expected at least one")
    n_passages = offsets.size - 1
    if pids is not None:
        require_array("pids", pids, (np.uint32,), 1)
        require_below("pids", pids, n_passages)
    visited = range(n_passages) if pids is None else [int(pid) for pid in pids]
    bounds = [(pid, int(offsets[pid]), int(offsets[pid + 1])) for pid in visited]
    for pid, start, end in bounds:
        if not 0 <= start <= end <= n_rows:
            raise ValueError(f"offsets: passage {pid} is [{start}, {end}) of {n_rows} rows")
    return [slice(start, end) for _, start, end in bounds]
