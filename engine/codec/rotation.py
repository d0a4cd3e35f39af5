"""Rotation before compression: what a few components hold is spread evenly over many.

One codebook serves all components of a residual. Where some vary more than others, as those of a
projected or untrained encoder do, it is too coarse for these and too fine for those. After a
rotation all vary alike, and sums of many components are distributed as the codebook expects.

Source: Gong et al. 2013 (Iterative Quantization), section 3.1, for the idea that a rotation
balances components; a fixed random one was measured to be enough.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels

FloatArray = NDArray[np.float32]

LARGEST_BLOCK: Final = 64
"""Components that are rotated among each other: more did not find more and take longer."""

SMALLEST_BLOCK: Final = 8
"""Fewer would balance nothing: such a dim is not rotated."""

ORTHOGONAL: Final = 1e-4
"""How far the product of a rotation with its transpose may be from the unit matrix."""


def make_rotation(dim: int, seed: int) -> FloatArray | None:
    """A random rotation for embeddings of this dim.

    Args:
        dim: components, at least 1.
        seed: equal seeds give equal rotations on one machine.

    Returns:
        float32 [b, b], orthogonal, b the largest divisor of dim from 8 to 64; None if none is.
    """
    sizes = [size for size in range(SMALLEST_BLOCK, LARGEST_BLOCK + 1) if dim % size == 0]
    if not sizes:
        return None
    rows = np.random.default_rng(seed).standard_normal((sizes[-1], sizes[-1]))
    return np.ascontiguousarray(np.linalg.qr(rows)[0], dtype=np.float32)


def find_rotation_problem(rotation: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    """What makes an array no rotation, in words; "" for one."""
    square = rotation.ndim == 2 and rotation.shape[0] == rotation.shape[1] > 0
    if rotation.dtype != np.float32 or not square or not rotation.flags.c_contiguous:
        return f"rotation is {rotation.dtype} of shape {rotation.shape}, not float32 [b, b]"
    if not np.isfinite(rotation).all():
        return "rotation holds NaN or infinity"
    # No float16 or float32 of a rotation is above 1, and larger values would overflow here.
    if np.abs(rotation).max() > 2:
        return "rotation is not orthogonal"
    wide = rotation.astype(np.float64)
    if np.abs(wide @ wide.T - np.eye(len(wide))).max() > ORTHOGONAL:
        return "rotation is not orthogonal"
    return ""


def rotate(
    rows: NDArray[np.floating], rotation: FloatArray, *, inverse: bool = False, threads: int = 0
) -> FloatArray:
    """Rotate rows block by block; dot products between rotated rows are as before.

    Block i of dim / b holds the components i, i + dim / b, i + 2 dim / b and so on: neighbours,
    which often vary alike, come into different blocks.

    Args:
        rows: float32 or float16 [n, dim].
        rotation: float32 [b, b], orthogonal, b a divisor of dim.
        inverse: turn back what was rotated.
        threads: 0 for all cores.

    Returns:
        float32 [n, dim].
    """
    if not inverse:
        return rotate_by(rows, transposed(rotation), threads=threads)
    n, dim = rows.shape
    out = _times(np.ascontiguousarray(rows, dtype=np.float32), rotation, threads)
    apart = out.reshape(n, dim // len(rotation), len(rotation)).transpose(0, 2, 1)
    return np.ascontiguousarray(apart).reshape(n, dim)


def transposed(rotation: FloatArray) -> FloatArray:
    """What `rotate_by` takes: float32 [b, b]."""
    return np.ascontiguousarray(rotation.T)


def rotate_by(rows: NDArray[np.floating], factor: FloatArray, *, threads: int = 0) -> FloatArray:
    """`rotate` by a rotation that was transposed before, once for many queries."""
    n, dim = rows.shape
    blocks = rows.reshape(n, len(factor), dim // len(factor)).transpose(0, 2, 1)
    return _times(np.ascontiguousarray(blocks, dtype=np.float32), factor, threads).reshape(n, dim)


def _times(blocks: FloatArray, factor: FloatArray, threads: int) -> FloatArray:
    """Each block of values times each row of the factor, by one call for all of them."""
    return kernels.centroid_scores(blocks.reshape(-1, len(factor)), factor, threads=threads)
