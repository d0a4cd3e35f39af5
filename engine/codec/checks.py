"""What a codec's tensors must look like, whoever brings them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import limits
from ..errors import CorruptIndexError
from .buckets import SUPPORTED_BITS
from .rotation import find_rotation_problem

if TYPE_CHECKING:
    from .cells import Cells
    from .model import Codec

Form = tuple[type[np.generic], int]

STORED: Final[dict[str, Form]] = {
    "centroids": (np.float16, 2),
    "bucket_cutoffs": (np.float32, 1),
    "bucket_weights": (np.float32, 1),
    "inverse_norm_range": (np.float32, 1),
}
STORED_CELLS: Final[dict[str, Form]] = {
    "cell_centroids": (np.float16, 2),
    "cell_offsets": (np.int64, 1),
}
STORED_ROTATION: Final[dict[str, Form]] = {"rotation": (np.float32, 2)}


def check_stored(tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Raise `CorruptIndexError` unless names, dtypes and ranks are those of a stored codec."""
    expected = dict(STORED)
    for optional in (STORED_CELLS, STORED_ROTATION):
        if optional.keys() & tensors.keys():
            expected |= optional
    if tensors.keys() != expected.keys():
        raise CorruptIndexError(
            f"The codec's tensors are {sorted(tensors)}, not {sorted(expected)}: "
            "restore its files from a copy."
        )
    for name, (dtype, rank) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.ndim != rank:
            raise CorruptIndexError(
                f"The codec's {name} is {tensor.dtype} with {tensor.ndim} axes, not "
                f"{np.dtype(dtype)} with {rank}: restore its files from a copy."
            )


def find_problem(codec: Codec) -> str | None:
    """The first thing about a codec that cannot be, in words; None for a sound one."""
    return next((problem for problem in _problems(codec) if problem is not None), None)


def _problems(codec: Codec) -> Iterable[str | None]:
    # Lazily and in this order: each check relies on those before it.
    if codec.bits not in SUPPORTED_BITS:
        yield f"bits is {codec.bits!r}, not one of {SUPPORTED_BITS}"
    yield _rows("centroids", codec.centroids)
    yield _vector("bucket_cutoffs", codec.bucket_cutoffs, (1 << codec.bits) - 1)
    yield _vector("bucket_weights", codec.bucket_weights, 1 << codec.bits)
    yield _vector("inverse_norm_range", codec.inverse_norm_range, 2)
    low, high = codec.inverse_norm_range
    if not 0 < low < high:
        yield f"inverse_norm_range is [{low}, {high}], not 0 < low < high"
    if codec.cells is not None:
        yield from _cell_problems(codec.cells, len(codec.centroids), codec.centroids.shape[1])
    if codec.rotation is not None:
        yield find_rotation_problem(codec.rotation) or None
        if codec.dim % len(codec.rotation):
            yield f"rotation has {len(codec.rotation)} rows, which do not divide dim {codec.dim}"


def _cell_problems(cells: Cells, n_centroids: int, dim: int) -> Iterable[str | None]:
    yield _rows("cell_centroids", cells.centroids)
    offsets = cells.offsets
    if cells.centroids.shape[1] != dim:
        yield f"cell_centroids has dim {cells.centroids.shape[1]}, the centroids {dim}"
    if offsets.dtype != np.int64 or offsets.shape != (len(cells.centroids) + 1,):
        yield f"cell_offsets has shape {offsets.shape} for {len(cells.centroids)} cells"
    if offsets[0] != 0 or offsets[-1] != n_centroids or (np.diff(offsets) <= 0).any():
        yield f"cell_offsets does not cut {n_centroids} centroids into non-empty cells"


def _rows(name: str, rows: np.ndarray[Any, Any]) -> str | None:
    if rows.dtype != np.float32 or rows.ndim != 2 or not rows.flags.c_contiguous:
        return f"{name} is {rows.dtype} of shape {rows.shape}, not C-contiguous float32 [n, dim]"
    if not len(rows) or not 1 <= rows.shape[1] <= limits.MAX_DIM:
        return f"{name} has shape {rows.shape}; at least one row of 1 to {limits.MAX_DIM} is needed"
    if not np.isfinite(rows).all():
        return f"{name} holds NaN or infinity"
    if (np.abs(rows) > np.finfo(np.float16).max).any():
        return f"{name} holds values beyond fp16"
    if (rows != rows.astype(np.float16)).any():
        return f"{name} holds values that fp16 does not represent exactly"
    return None


def _vector(name: str, values: np.ndarray[Any, Any], length: int) -> str | None:
    if values.dtype != np.float32 or values.shape != (length,):
        return f"{name} is {values.dtype} of shape {values.shape}, not float32 [{length}]"
    if not np.isfinite(values).all():
        return f"{name} holds NaN or infinity"
    if (np.diff(values) < 0).any():
        return f"{name} does not ascend"
    return None
