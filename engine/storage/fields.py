"""Reading JSON that somebody else may have written: each field by its type and range."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ..errors import CorruptIndexError

LARGEST: Final = 2**48
"""Above any count, length or number that an index reaches."""

MAX_DEPTH: Final = 32
"""Levels of an object that is kept as it is."""

T = TypeVar("T")


class Fields:
    """The fields of one JSON object.

    Args:
        value: what stands where an object should.
        where: names the place in messages.

    Raises:
        CorruptIndexError: by each method, for a field that is missing or not as asked.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise CorruptIndexError(f"{where} is not a JSON object.")
        self._values = value
        self._where = where

    def failure(self, key: str, expected: str) -> CorruptIndexError:
        """The error to be raised for a field that is not as expected."""
        found = self._values.get(key, "missing")
        return CorruptIndexError(
            f"{self._where}: {key!r} is {reprlib.repr(found):.60}, not {expected}."
        )

    def integer(self, key: str, low: int = 0, high: int = LARGEST) -> int:
        """A whole number in `[low, high]`."""
        value = self._values.get(key)
        if type(value) is not int or not low <= value <= high:
            raise self.failure(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.failure(key, "a number")
        if not -LARGEST <= value <= LARGEST:
            raise self.failure(key, "a finite number")
        return float(value)

    def number_if_any(self, key: str) -> float | None:
        """A finite number; None where the field is null or not there, as before it was written."""
        return None if self._values.get(key) is None else self.number(key)

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        """A string that matches the pattern whole."""
        value = self._values.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.failure(key, f"text of the form {pattern.pattern}")
        return value

    def text_if_any(self, key: str, pattern: re.Pattern[str]) -> str | None:
        """A string that matches the pattern whole; None where the field is null or not there."""
        return None if self._values.get(key) is None else self.text(key, pattern)

    def choice(self, key: str, choices: tuple[T, ...]) -> T:
        """One of several values."""
        value = self._values.get(key)
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        raise self.failure(key, f"one of {list(choices)}")

    def mapping(self, key: str) -> dict[str, Any]:
        """A JSON object, whatever it holds that JSON can hold again."""
        value = self._values.get(key)
        if not isinstance(value, dict) or not _is_plain(value, MAX_DEPTH):
            raise self.failure(key, f"a JSON object of finite values, {MAX_DEPTH} levels at most")
        return value

    def fields(self, key: str) -> Fields:
        """A JSON object to be read field by field."""
        return Fields(self._values.get(key), f"{self._where}, {key}")

    def each(self, key: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of JSON objects, each read by `read`."""
        value = self._values.get(key)
        if not isinstance(value, list):
            raise self.failure(key, "a list")
        place = f"{self._where}, {key}"
        return tuple(read(Fields(item, f"{place}[{i}]")) for i, item in enumerate(value))

    def pairs(self, key: str, most: int) -> tuple[tuple[int, int], ...]:
        """A list of at most so many pairs of whole numbers, not negative."""
        value = self._values.get(key)
        if not isinstance(value, list) or len(value) > most or not all(map(_is_pair, value)):
            raise self.failure(key, f"at most {most} pairs of whole numbers")
        return tuple((first, last) for first, last in value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.failure(key, "a list of strings")
        return tuple(value)

    def is_null(self, key: str) -> bool:
        """Whether the field is there and null."""
        return key in self._values and self._values[key] is None


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(number) is int and 0 <= number <= LARGEST for number in value)
    )


def _is_plain(value: Any, levels: int) -> bool:
    """Whether a parsed value can be written as JSON again: not too deep, all numbers finite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if not isinstance(value, dict | list):
        return True
    items = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_plain(item, levels - 1) for item in items)
