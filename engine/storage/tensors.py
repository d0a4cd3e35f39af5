"""Safetensors files: a reader that trusts nothing and copies nothing, and a streaming writer.

The format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes without
gaps. Between its own tensors the writer puts small ones named `_padding.<n>`, so that every
tensor starts at a multiple of 64 bytes of the file; the reader leaves them out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptIndexError
from .directory import NewFile
from .mapping import Bytes

HEADER_BYTES: Final = 4096
"""Length prefix and header of the files written here, filled up with spaces."""

MAX_HEADER_BYTES: Final = 1 << 20
"""Longest header that is read."""

ALIGNMENT: Final = 64
"""Tensors start at multiples of this, a cache line."""

PADDING: Final = "_padding."

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "U8": np.dtype("u1"),
    "U16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorRange:
    """One tensor of a file: its dtype, shape and the bytes `[start, end)` of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one entry of the first axis."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def of(self, file: Bytes) -> NDArray[Any]:
        """The tensor, laid over the bytes of the file without a copy."""
        count = math.prod(self.shape)
        return np.frombuffer(file, self.dtype, count, self.start).reshape(self.shape)


def header_end(file: Bytes, name: str) -> int:
    """Where the header of a safetensors file ends, to check its bytes before reading them.

    Raises:
        CorruptIndexError: the file is too short, or the length out of range.
    """
    if file.size < 8:
        raise CorruptIndexError(f"{name}: {file.size} bytes are too few for a safetensors file.")
    length = int.from_bytes(file[:8].tobytes(), "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, file.size - 8):
        raise CorruptIndexError(f"{name}: header length {length} at offset 0 is out of range.")
    return 8 + length


def read_header(file: Bytes, name: str) -> dict[str, TensorRange]:
    """Parse and check the header of a safetensors file.

    Args:
        file: uint8, the whole file.
        name: for messages.

    Returns:
        The tensors by name, without padding; their ranges lie in the file, fit their shapes and
        do not overlap.

    Raises:
        CorruptIndexError: anything else.
    """
    end = header_end(file, name)
    try:
        header = json.loads(file[8:end].tobytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptIndexError(f"{name}: the header at offset 8 is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise CorruptIndexError(f"{name}: the header at offset 8 is not a JSON object.")
    header.pop("__metadata__", None)
    ranges = {key: _range(key, entry, end, name) for key, entry in header.items()}
    _require_cover(ranges.values(), end, file.size, name)
    return {key: found for key, found in ranges.items() if not key.startswith(PADDING)}


def _range(key: str, entry: Any, base: int, name: str) -> TensorRange:
    """One entry of the header; offsets count from the end of the header."""
    try:
        dtype = DTYPES[entry["dtype"]]
        shape = tuple(entry["shape"])
        start, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError(f"{name}: header entry {key!r} is not understood.") from error
    numbers = (*shape, start, end)
    if not all(type(n) is int and 0 <= n < 2**48 for n in numbers) or len(shape) > 8:
        raise CorruptIndexError(f"{name}: header entry {key!r} holds unusable numbers.")
    if end - start != dtype.itemsize * math.prod(shape):
        raise CorruptIndexError(f"{name}: shape and offsets of {key!r} disagree.")
    return TensorRange(dtype, shape, base + start, base + end)


def _require_cover(ranges: Iterable[TensorRange], start: int, size: int, name: str) -> None:
    """Tensors follow each other from the header to the end of the file: no overlap, no gap."""
    for found in sorted(ranges, key=lambda r: (r.start, r.end)):
        if found.start != start:
            raise CorruptIndexError(f"{name}: tensors overlap or leave a gap at offset {start}.")
        start = found.end
    if start != size:
        raise CorruptIndexError(f"{name}: {size} bytes where the header tells of {start}.")


class Slot:
    """A tensor of known shape whose rows are written one chunk after the other."""

    def __init__(self, file: NewFile, dtype: np.dtype[Any], shape: tuple[int, ...], start: int):
        self._file = file
        self.dtype = dtype
        self.shape = shape
        self.start = start
        self.written_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.dtype.itemsize * math.prod(self.shape)

    def append(self, rows: NDArray[Any]) -> None:
        """Write the next rows, converted to the slot's dtype."""
        data = np.ascontiguousarray(rows, dtype=self.dtype)
        if self.written_bytes + data.nbytes > self.size_bytes:
            raise ValueError(f"rows beyond the {self.shape} that were reserved")
        self._file.write_at(self.start + self.written_bytes, data.reshape(-1).view(np.uint8).data)
        self.written_bytes += data.nbytes

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Rows `[first, last)` as they were written."""
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        data = self._file.read_at(self.start + first * row_bytes, (last - first) * row_bytes)
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


class TensorWriter:
    """Writes a safetensors file in bounded memory: tensors by `put`, or by slots in chunks."""

    def __init__(self, file: NewFile) -> None:
        self._file = file
        self._slots: dict[str, Slot] = {}
        self._end = HEADER_BYTES

    def reserve(self, name: str, dtype: Any, shape: tuple[int, ...]) -> Slot:
        """Make room for a tensor; all its rows must be appended before `finish`."""
        gap = -self._end % ALIGNMENT
        if gap:
            self._place(f"{PADDING}{len(self._slots)}", np.dtype("u1"), (gap,)).append(
                np.zeros(gap, dtype=np.uint8)
            )
        return self._place(name, np.dtype(dtype).newbyteorder("<"), shape)

    def _place(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Slot:
        slot = Slot(self._file, dtype, shape, self._end)
        self._slots[name] = slot
        self._end += slot.size_bytes
        return slot

    def put(self, name: str, tensor: NDArray[Any]) -> None:
        """Write a whole tensor."""
        self.reserve(name, tensor.dtype, tensor.shape).append(tensor)

    def finish(self) -> None:
        """Write the header; nothing may be appended afterwards."""
        for name, slot in self._slots.items():
            if slot.written_bytes != slot.size_bytes:
                raise ValueError(f"tensor {name} was not written whole")
        header = json.dumps(
            {name: _entry(slot) for name, slot in self._slots.items()}, separators=(",", ":")
        ).encode()
        if len(header) > HEADER_BYTES - 8:
            raise ValueError(f"{len(self._slots)} tensors do not fit the header")
        length = (HEADER_BYTES - 8).to_bytes(8, "little")
        self._file.write_at(0, length + header.ljust(HEADER_BYTES - 8, b" "))


def _entry(slot: Slot) -> dict[str, Any]:
    start = slot.start - HEADER_BYTES
    return {
        "dtype": _NAMES[slot.dtype],
        "shape": list(slot.shape),
        "data_offsets": [start, start + slot.size_bytes],
    }


def require_tensor(
    tensors: Mapping[str, TensorRange],
    key: str,
    name: str,
    dtypes: tuple[type[np.generic], ...],
    fits: Callable[[tuple[int, ...]], bool],
) -> TensorRange:
    """The range of a tensor that must be there with one of the dtypes and a fitting shape.

    Raises:
        CorruptIndexError: it is not.
    """
    found = tensors.get(key)
    if found is None:
        raise CorruptIndexError(f"{name}: tensor {key!r} is missing.")
    aligned = found.start % found.dtype.itemsize == 0
    known = found.dtype in [np.dtype(dtype) for dtype in dtypes]
    if not (known and aligned and fits(found.shape)):
        raise CorruptIndexError(
            f"{name}: tensor {key!r} is {found.dtype} {list(found.shape)}, which does not fit."
        )
    return found
