"""Edits of bytes, JSON values and arrays, steered by a `Source`."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np

from .source import Source

RAW: Final = (
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-0",
    "0.1",
    "1e308",
    "9" * 4000,
    "9" * 5000,
    '"\\ud800"',
    '{"a":1,"a":2}',
    "[" * 400 + "]" * 400,
    "[" * 900 + "]" * 900,
    "[" * 960 + "]" * 960,
    "[" * 100_000,
    '{"a":' * 900 + "1" + "}" * 900,
    "[" + "0," * 20_000 + "0]",
)
"""JSON that no Python value gives: beyond ranges, nested too deep, or not JSON at all."""

MAX_NODES: Final = 5000
"""Values in an edited JSON value: edits of edits would grow without bound."""

MAX_TEXT: Final = 1 << 24
"""Characters of JSON beyond which stand-ins stay as they are."""

MAX_ARRAY_BYTES: Final = 1 << 20
"""Arrays beyond this are not repeated any more."""

FLOATS: Final = (0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e-45, 6e4, 3e38, -1e30)


def edited_bytes(source: Source, data: bytes) -> bytes:
    """Bytes with one edit: overwritten, inserted, removed, repeated or cut."""
    at = source.below(len(data) + 1)
    kind = source.below(6)
    if kind == 0:
        return data[:at] + bytes([source.below(256)]) + data[at + 1 :]
    if kind == 1:
        width = source.choice((1, 2, 4, 8))
        value = (source.number() % (1 << 8 * width)).to_bytes(
            width, source.choice(("little", "big"))
        )
        return data[:at] + value + data[at + width :]
    if kind == 2:
        return data[:at] + source.take(source.below(32)) + data[at:]
    if kind == 3:
        return data[:at] + data[at + 1 + source.below(256) :]
    if kind == 4:
        start = source.below(len(data) + 1)
        return data[:at] + data[start : start + source.below(4096)] + data[at:]
    return data[:at]


def new_value(source: Source, present: Any = None) -> Any:
    """A JSON value to put somewhere; text that begins with `@raw` stands for `RAW`."""
    kind = source.below(9)
    if kind == 0:
        return source.number()
    if kind == 1 and isinstance(present, int):
        return present + source.below(5) - 2
    if kind == 2:
        return source.text()
    if kind == 3:
        return f"@raw{source.below(len(RAW))}@"
    if kind == 4:
        return source.choice((None, True, False, [], {}, [[]], "", 0, 1.5))
    if kind == 5:
        return [present] * source.below(40)
    if kind == 6:
        return {"a": present, source.text(): present}
    if kind == 7:
        return float(source.number())
    return source.take(16).hex()


def edited_json(source: Source, value: Any) -> Any:
    """A JSON value with one edit at a place somewhere inside; the value itself stays."""
    edited = _edited(source, value)
    return edited if _nodes(edited, MAX_NODES) else value


def _nodes(value: Any, left: int) -> int:
    """What is left of a budget when each value inside is counted; 0 where it does not last."""
    left -= 1
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            if left <= 0:
                return 0
            left = _nodes(item, left)
    return max(0, left)


def _edited(source: Source, value: Any) -> Any:
    if isinstance(value, dict) and value and not source.flag(8):
        return _edited_object(source, dict(value))
    if isinstance(value, list) and value and not source.flag(8):
        return _edited_list(source, list(value))
    return new_value(source, value)


def _edited_object(source: Source, value: dict[str, Any]) -> dict[str, Any]:
    key = source.choice(list(value))
    kind = source.below(8)
    if kind == 6:
        del value[key]
    elif kind == 7:
        value[source.choice([*value, source.text()])] = value[key]
    else:
        value[key] = _edited(source, value[key])
    return value


def _edited_list(source: Source, value: list[Any]) -> list[Any]:
    at = source.below(len(value))
    kind = source.below(8)
    if kind == 5:
        del value[at]
    elif kind == 6:
        value.insert(source.below(len(value) + 1), value[at])
    elif kind == 7:
        value = value * (1 + source.below(4))
    else:
        value[at] = _edited(source, value[at])
    return value


def json_bytes(value: Any) -> bytes:
    """JSON with the stand-ins of `RAW` filled in."""
    text = json.dumps(value, separators=(",", ":"))
    for number, raw in enumerate(RAW):
        mark = f'"@raw{number}@"'
        if len(text) + text.count(mark) * len(raw) <= MAX_TEXT:
            text = text.replace(mark, raw)
    return text.encode("ascii")


def edited_array(source: Source, array: np.ndarray) -> np.ndarray:
    """An array with one edit: an entry, its order, its length, its shape or its dtype."""
    kind = source.below(12)
    if kind < 6 and array.size:
        return _with_entry(source, array)
    if kind == 6:
        return array[: source.below(len(array) + 1)] if array.ndim else array
    if kind == 7 and array.ndim and len(array) and array.nbytes < MAX_ARRAY_BYTES:
        return np.repeat(array, 1 + source.below(3), axis=0)
    if kind == 8 and array.ndim:
        return array[::-1].copy()
    if kind == 9:
        dtype = source.choice(("u1", "<u2", "<u4", "<u8", "<i8", "<f2", "<f4", "<i4", "<f8"))
        with np.errstate(all="ignore"):
            return array.astype(dtype)
    if kind == 10:
        return array.reshape(source.choice(((-1,), (1, -1), (-1, 1), (1, 1, -1))))
    return np.roll(array, source.below(8), axis=0) if array.ndim else array


def _with_entry(source: Source, array: np.ndarray) -> np.ndarray:
    """One entry, or the entries from one on, set to a number at an edge."""
    flat = array.reshape(-1).copy()
    at = source.below(flat.size)
    to = at + 1 if source.flag(4) is False else flat.size
    if flat.dtype.kind == "f":
        with np.errstate(all="ignore"):
            flat[at:to] = np.array(source.choice(FLOATS)).astype(flat.dtype)
        return flat.reshape(array.shape)
    bits = 8 * flat.itemsize
    value = source.number() if source.flag() else int(flat[at]) + source.below(5) - 2
    flat[at:to] = np.array(value % (1 << bits), dtype=f"<u{flat.itemsize}").view(flat.dtype)
    return flat.reshape(array.shape)
