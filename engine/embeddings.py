"""Checks on ready-made embeddings, of passages and of queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from . import limits
from .errors import DimensionMismatchError, InvalidEmbeddingError, InvalidQueryError

NORM_TOLERANCE = 0.01
"""How far from 1 the length of a passage's row may be: what float16 and summation cost."""

_FLOATS: Final = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.float64))

_SHORT: Final = 0.99 * float(limits.MAX_QUERY_NORM) ** 2
"""Squared lengths up to here are no query's fault, however float32 rounded them."""


def check_embeddings(embeddings: object, ids: Sequence[str], dim: int) -> list[NDArray[Any]]:
    """Return one checked float array [n, dim] per document.

    Raises:
        InvalidEmbeddingError: not one array per document, or an array that cannot be used.
        DimensionMismatchError: an array of another dim.
    """
    if isinstance(embeddings, np.ndarray) and embeddings.ndim != 3:
        raise InvalidEmbeddingError(
            f"embeddings has {embeddings.ndim} axes: pass a list with one array "
            f"[tokens, {dim}] per document."
        )
    if not isinstance(embeddings, Sequence | np.ndarray):
        raise InvalidEmbeddingError("embeddings must be a list with one array per document.")
    if len(embeddings) != len(ids):
        raise InvalidEmbeddingError(
            f"embeddings has {len(embeddings)} arrays for {len(ids)} documents."
        )
    return [
        check_passage_embeddings(array, f"Document {id!r}", dim)
        for array, id in zip(embeddings, ids, strict=True)
    ]


def check_passage_embeddings(array: object, what: str, dim: int) -> NDArray[Any]:
    """Return the embeddings of one passage as float16 or float32 [n, dim], unit rows."""
    values = _matrix(array, f"{what}: embeddings", dim)
    if values.dtype == np.float64:
        values = _narrowed(values, f"{what}: embeddings")
    n = values.shape[0]
    if n == 0:
        raise InvalidEmbeddingError(f"{what} has no embeddings: a passage needs one at least.")
    if n > limits.MAX_PASSAGE_EMBEDDINGS:
        raise InvalidEmbeddingError(
            f"{what} has {n:,} embeddings; at most {limits.MAX_PASSAGE_EMBEDDINGS:,} are allowed. "
            "Split it into several documents."
        )
    norms = np.sqrt(kernels.squared_lengths(_aligned(values)))
    good = np.abs(norms - 1.0) <= NORM_TOLERANCE
    if not good.all():
        # Lengths tell of NaN and infinity as well.
        _require_finite(values, f"{what}: embeddings")
        bad = np.flatnonzero(~good)
        raise InvalidEmbeddingError(
            f"{what}: row {bad[0]} has length {norms[bad[0]]:.4g}; MaxSim is defined on rows of "
            "length 1. Divide each row by its L2 norm."
        )
    return values


def check_query_embeddings(array: object, dim: int) -> NDArray[np.float32]:
    """Return one query's vectors as contiguous float32 [nq, dim].

    Raises:
        InvalidEmbeddingError: no array of floats of two axes, or NaN or infinity in it.
        DimensionMismatchError: an array of another dim.
        InvalidQueryError: no row, too many, or one too long.
    """
    if _is_ready(array, dim):
        return array
    values = _matrix(array, "The query", dim)
    if not _are_short(values):
        values = _usable_query(values)
    return np.ascontiguousarray(_aligned(values), dtype=np.float32)


def _is_ready(array: object, dim: int) -> TypeGuard[NDArray[np.float32]]:
    """Whether it is surely what a search takes as it stands, as is nearly always the case."""
    return (
        type(array) is np.ndarray
        and array.dtype == _FLOATS[0]
        and array.ndim == 2
        and array.shape[1] == dim
        and array.flags.c_contiguous
        and array.flags.aligned
        and _are_short(array)
    )


def _are_short(values: NDArray[Any]) -> bool:
    """Whether these are surely usable vectors of a query, by one look; NaN is never short."""
    if values.dtype == _FLOATS[2] or not 1 <= len(values) <= limits.MAX_QUERY_EMBEDDINGS:
        return False
    # All together: a sum in Python takes less time than finding the largest in NumPy.
    return bool(sum(kernels.squared_lengths(_aligned(values), threads=1).tolist()) <= _SHORT)


def _usable_query(values: NDArray[Any]) -> NDArray[Any]:
    """The vectors of a query in float16 or float32, or an error that says what is wrong."""
    if values.dtype == np.float64:
        values = _narrowed(values, "The query")
    _require_finite(values, "The query")
    if values.shape[0] == 0:
        raise InvalidQueryError("The query has no vectors: pass one at least.")
    if values.shape[0] > limits.MAX_QUERY_EMBEDDINGS:
        raise InvalidQueryError(
            f"The query has {values.shape[0]:,} vectors; at most "
            f"{limits.MAX_QUERY_EMBEDDINGS:,} are allowed."
        )
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    if norms.max() > limits.MAX_QUERY_NORM:
        raise InvalidQueryError(
            f"The query's row {int(norms.argmax())} has length {norms.max():.4g}, with which "
            "scores leave float32: divide each row by its L2 norm."
        )
    return values


def _aligned(values: NDArray[Any]) -> NDArray[Any]:
    """The values as kernels take them, which is nearly always as they are."""
    return values if values.flags.c_contiguous and values.flags.aligned else values.copy()


def _matrix(array: object, what: str, dim: int) -> NDArray[Any]:
    try:
        values = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise InvalidEmbeddingError(f"{what} cannot be read as an array: {error}.") from error
    if values.dtype not in _FLOATS:
        raise InvalidEmbeddingError(
            f"{what} has dtype {values.dtype}: use float32, float16 or float64."
        )
    if values.ndim != 2:
        raise InvalidEmbeddingError(
            f"{what} has shape {values.shape}: expected [tokens, {dim}], one row per token."
        )
    if values.shape[1] != dim:
        raise DimensionMismatchError(
            f"{what} has dim {values.shape[1]}, the index has dim {dim}: use the encoder that "
            "the index was made with."
        )
    return values


def _require_finite(values: NDArray[Any], what: str) -> None:
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise InvalidEmbeddingError(f"{what}: row {row} holds NaN or infinity.")


def _narrowed(values: NDArray[np.float64], what: str) -> NDArray[np.float32]:
    _require_finite(values, what)
    if np.abs(values).max(initial=0) > np.finfo(np.float32).max:
        raise InvalidEmbeddingError(f"{what} holds values beyond float32: normalise it.")
    return values.astype(np.float32)
