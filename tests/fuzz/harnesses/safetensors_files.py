"""Safetensors files taken apart and put together again, whatever they hold by then."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .mutation import edited_array, edited_bytes, edited_json, json_bytes
from .source import Source

NAMES = {
    "u1": "U8", "u2": "U16", "u4": "U32", "u8": "U64", "i1": "I8", "i2": "I16", "i4": "I32",
    "i8": "I64", "f2": "F16", "f4": "F32", "f8": "F64",
}  # fmt: skip
DTYPES = {name: np.dtype(f"<{code}") for code, name in NAMES.items()}
ALIGNMENT = 64

Tensors = dict[str, np.ndarray]


class MalformedError(ValueError):
    """A file that was edited too much to be taken apart."""


def tensors_of(data: bytes) -> Tensors:
    """The tensors of a file, without the padding between them.

    Raises:
        MalformedError: it is no sound file any more.
    """
    try:
        return _tensors(data)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError from error


def _tensors(data: bytes) -> Tensors:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if not name.startswith(("_padding", "__metadata__")):
            start, end = entry["data_offsets"]
            raw = data[8 + length + start : 8 + length + end]
            tensors[name] = np.frombuffer(raw, DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def file_of(tensors: Tensors, source: Source | None = None) -> bytes:
    """A file of these tensors; with a source, its header is edited once."""
    header: dict[str, Any] = {}
    body = b""
    for name, tensor in tensors.items():
        gap = -len(body) % ALIGNMENT
        if gap:
            header[f"_padding.{len(header)}"] = _entry(np.zeros(gap, "u1"), len(body))
            body += bytes(gap)
        header[name] = _entry(tensor, len(body))
        body += tensor.tobytes()
    text = json_bytes(header if source is None else edited_json(source, header))
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + body


def _entry(tensor: np.ndarray, start: int) -> dict[str, Any]:
    name = NAMES[tensor.dtype.str[1:]]
    return {
        "dtype": name,
        "shape": list(tensor.shape),
        "data_offsets": [start, start + tensor.nbytes],
    }


def edited_file(source: Source, data: bytes, focus: tuple[str, ...] = ()) -> bytes:
    """A file with one edit: of a tensor mostly, of the list of tensors, the header or its bytes.

    Args:
        source: of choices.
        data: a file; one that cannot be taken apart is edited as bytes.
        focus: names of tensors that are chosen; all where none is given.
    """
    kind = source.below(16)
    try:
        tensors = tensors_of(data)
    except MalformedError:
        return edited_bytes(source, data)
    if kind == 15 or not tensors:
        return edited_bytes(source, data)
    if kind == 14:
        return file_of(tensors, source)
    name = source.choice([key for key in tensors if not focus or key in focus] or list(tensors))
    if kind == 13:
        del tensors[name]
    elif kind == 12:
        tensors[source.choice([*tensors, "other"])] = tensors[name]
    else:
        tensors[name] = edited_array(source, tensors[name])
    return file_of(tensors)
