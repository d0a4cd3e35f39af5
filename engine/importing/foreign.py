"""What is taken over of another package's index, and how its files are read without trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # the exception only; nothing here unpickles
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import limits
from ..codec.buckets import SUPPORTED_BITS
from ..errors import ForeignIndexError

Array = NDArray[Any]

MAX_JSON_BYTES: Final = 4 * 2**30
"""Longest JSON file that is read: RAGatouille keeps all texts in one."""

MAX_CHUNKS: Final = 1_000_000
"""Chunks of one index."""

REVERSED: Final = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], dtype=np.uint8)
"""Both packages put bits into a byte from the highest on, Weft from the lowest on."""


@dataclass(frozen=True, eq=False, slots=True)
class Chunk:
    """Consecutive passages of a foreign index.

    Args:
        doclens: int64 [passages], embeddings of each; 0 for a passage that was removed.
        codes: gives integers [n], centroid numbers.
        residuals: gives uint8 [n, dim * bits / 8], packed as the package does.
        name: of the codes' file, for messages.
    """

    doclens: NDArray[np.int64]
    codes: Callable[[], Array]
    residuals: Callable[[], Array]
    name: str


@dataclass(frozen=True, eq=False, slots=True)
class ForeignIndex:
    """An index of another package, its large arrays still on disk.

    Args:
        kind: "colbert-ai" or "fast-plaid".
        folder: where it is.
        bits: residual bits per dimension.
        centroids: float16 [K, dim].
        bucket_cutoffs: float32 [2^bits - 1].
        bucket_weights: float32 [2^bits].
        chunks: in the order of their passages.
        checkpoint: name or folder of the encoder; None where it is not recorded.
        collection: where its texts were read from; None where that is not recorded.
    """

    kind: str
    folder: Path
    bits: int
    centroids: NDArray[np.float16]
    bucket_cutoffs: NDArray[np.float32]
    bucket_weights: NDArray[np.float32]
    chunks: list[Chunk]
    checkpoint: str | None = None
    collection: str | None = None

    @property
    def dim(self) -> int:
        """Components per embedding."""
        return int(self.centroids.shape[1])

    @property
    def doclens(self) -> NDArray[np.int64]:
        """int64 [passages], of all chunks."""
        return np.concatenate([chunk.doclens for chunk in self.chunks])


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        ForeignIndexError: it is missing, too long or no JSON.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ForeignIndexError(f"{path} is longer than {MAX_JSON_BYTES:,} bytes.")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise ForeignIndexError(f"{path} is no JSON ({error}): copy the index again.") from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ForeignIndexError(f"{path} holds a {type(value).__name__}, not an object.")
    return value


def read_doclens(path: Path) -> NDArray[np.int64]:
    """The lengths of a chunk's passages.

    Raises:
        ForeignIndexError: it is no list of whole numbers that Weft can hold.
    """
    value = read_json(path)
    most = limits.MAX_PASSAGE_EMBEDDINGS
    sound = isinstance(value, list) and all(
        type(length) is int and 0 <= length <= most for length in value
    )
    if not sound:
        raise ForeignIndexError(
            f"{path} is no list of whole numbers from 0 to {most:,}, the lengths of passages."
        )
    return np.array(value, dtype=np.int64)


def whole_number(values: dict[str, Any], name: str, path: Path, low: int, high: int) -> int:
    """A whole number in an object.

    Raises:
        ForeignIndexError: there is none, or one out of range.
    """
    value = values.get(name)
    if type(value) is not int or not low <= value <= high:
        raise ForeignIndexError(f"{path}: {name} is {value!r:.60}, not from {low} to {high:,}.")
    return value


def bits_of(values: dict[str, Any], path: Path) -> int:
    """The residual bits of an index, from its `nbits`."""
    value = values.get("nbits")
    if type(value) is not int or value not in SUPPORTED_BITS:
        raise ForeignIndexError(f"{path}: nbits is {value!r:.60}, not 1, 2, 4 or 8.")
    return value


def read_npy(path: Path) -> Array:
    """A NumPy file, mapped; one that holds objects is refused.

    Raises:
        ForeignIndexError: it is missing, damaged or no array.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, EOFError, TypeError, SyntaxError) as error:
        raise damaged(path, error) from error
    if not isinstance(array, np.ndarray):
        raise ForeignIndexError(f"{path} holds no array of NumPy.")
    return array


def read_tensors(path: Path, count: int | None = None) -> list[Array]:
    """The tensors of a PyTorch file as arrays, mapped where its format allows it.

    Args:
        path: of the file. No code in it is run.
        count: tensors that must be in it, as a list or tuple; None for a single tensor.

    Raises:
        ForeignIndexError: it is missing, damaged, or holds something else.
    """
    value = _load(path)
    found = [value] if count is None else value
    if not isinstance(found, list | tuple) or len(found) != (count or 1):
        raise ForeignIndexError(f"{path} holds a {type(value).__name__}, not {count} tensors.")
    return [_array(tensor, path) for tensor in found]


def _load(path: Path) -> Any:
    import torch

    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # an older format cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ForeignIndexError(
            f"{path} is damaged or holds more than tensors, and Weft runs no code from an index."
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged(path, error) from error


def _array(tensor: Any, path: Path) -> Array:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise ForeignIndexError(f"{path} holds a {type(tensor).__name__} where a tensor should be.")
    try:
        if tensor.dtype == torch.bfloat16:
            tensor = tensor.float()
        array: Array = tensor.numpy()
    except (RuntimeError, TypeError) as error:
        raise damaged(path, error) from error
    return array


def as_centroids(array: Array, path: Path) -> NDArray[np.float16]:
    """Centroids as both packages keep them.

    Raises:
        ForeignIndexError: another shape, or values that are not finite.
    """
    floats = np.issubdtype(array.dtype, np.floating)
    if array.ndim != 2 or not floats or not 1 <= array.shape[1] <= limits.MAX_DIM or not len(array):
        raise ForeignIndexError(
            f"{path} holds {array.dtype} of shape {array.shape}, no centroids [K, dim]."
        )
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(array, dtype=np.float16)
    if not np.isfinite(halves).all():
        raise ForeignIndexError(f"{path} holds centroids with NaN, infinity or huge values.")
    return halves


def as_buckets(array: Array, length: int, path: Path, name: str) -> NDArray[np.float32]:
    """Bucket cutoffs or weights.

    Raises:
        ForeignIndexError: another number of them, or values that are not finite or not in order.
    """
    values = np.ascontiguousarray(array, dtype=np.float32) if array.dtype.kind == "f" else None
    if values is None or values.shape != (length,) or not np.isfinite(values).all():
        raise ForeignIndexError(
            f"{path} holds {array.dtype} of shape {array.shape}, not {length} {name}."
        )
    if (np.diff(values) < 0).any():
        raise ForeignIndexError(f"{path}: its {name} do not ascend.")
    return values


def unreadable(path: Path, error: OSError) -> ForeignIndexError:
    """The error for a file that is missing or may not be read."""
    return ForeignIndexError(
        f"{path} cannot be read ({error.strerror or error}): is the index complete?"
    )


def damaged(path: Path, error: Exception) -> ForeignIndexError:
    """The error for a file of which a reader says that it is none of its kind."""
    lines = str(error).strip().splitlines()
    return ForeignIndexError(
        f"{path} is damaged ({lines[0][:200] if lines else type(error).__name__}): copy the index "
        "again."
    )
