"""Turns a fuzzer's bytes into choices, so that each input is a short script of edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

NUMBERS: Final = (
    0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 4095, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**48, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**31), -(2**63),
)  # fmt: skip
"""Values at the edges of integer types and of common limits."""

MAX_EDITS: Final = 8
"""Edits of one input: more of them seldom get past the first check."""


class Source:
    """Reads choices off a byte string; at its end every choice is the first one.

    Args:
        data: what the fuzzer made up.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return max(0, len(self._data) - self._at)

    def take(self, n: int) -> bytes:
        """The next `n` bytes, fewer at the end."""
        found = self._data[self._at : self._at + n]
        self._at += n
        return found

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(self.left)

    def below(self, n: int) -> int:
        """A whole number in `[0, n)`, of as few bytes as that needs."""
        n_bytes = max(1, (max(n, 1) - 1).bit_length() + 7 >> 3)
        return int.from_bytes(self.take(n_bytes), "little") % max(n, 1)

    def flag(self, one_in: int = 2) -> bool:
        """True once in `one_in`; False at the end."""
        return self.below(256) % one_in == one_in - 1

    def choice(self, options: Sequence[T]) -> T:
        """One of the options, which must not be empty."""
        return options[self.below(len(options))]

    def number(self) -> int:
        """A whole number: one at an edge, near one, small, or any of 64 bits."""
        kind = self.below(4)
        if kind == 0:
            return self.choice(NUMBERS)
        if kind == 1:
            return self.choice(NUMBERS) + self.below(9) - 4
        if kind == 2:
            return self.below(256)
        return int.from_bytes(self.take(8), "little", signed=True)

    def text(self) -> str:
        """A short text, with what breaks decoders among it."""
        odd = ("", "\0", "\ud800", "a" * 600, "é" * 300, "0" * 32, "f" * 32, "../..", "\u202e", "-")
        return self.choice(odd) if self.flag() else self.take(self.below(24)).decode("latin-1")

    def edits(self) -> Iterator[Source]:
        """This source, once for each edit that it still has bytes for."""
        for _ in range(MAX_EDITS):
            if not self.left:
                return
            yield self
