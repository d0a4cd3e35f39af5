"""The settings that a tuning may try, and which of them lie beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from .. import limits
from .report import Setting

NPROBES: Final = (4, 8, 16, 32, 64)

LEAST_UNIT: Final = 8
"""ndocs and n_rescored are multiples of k, or of this where k is smaller."""

STRIDES: Final = (1, 3)
"""Levels that a descent goes down at once: large steps save trials where much may be saved."""

FIRST_NDOCS: Final = 8
FIRST_RESCORED: Final = 3
"""Multiples on the lowest rung."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Levels of each parameter, ascending.

    Args:
        nprobe, ndocs, n_rescored: the levels; the last of ndocs and n_rescored is everything.
        unit: what ndocs and n_rescored are multiples of.
    """

    nprobe: tuple[int, ...]
    ndocs: tuple[int, ...]
    n_rescored: tuple[int, ...]
    unit: int

    @classmethod
    def of(cls, k: int, n_passages: int) -> Self:
        """The grid for a k.

        Args:
            k: passages wanted.
            n_passages: that may be found in coded segments.
        """
        unit = max(k, LEAST_UNIT)
        most = max(min(n_passages, limits.MAX_NDOCS), k)
        rescored = sorted([*_doublings(unit, most), *_doublings(unit + unit // 2, most)])
        ndocs = _doublings(2 * unit, most)
        return cls(NPROBES, (*ndocs, most), (*rescored, most), unit)

    def ladder(self) -> Iterator[Setting]:
        """Settings in which everything grows together, from a fast search to a full one."""
        previous = None
        for rung in range(len(self.ndocs)):
            factor = self.unit << rung
            ndocs = _at_least(self.ndocs, FIRST_NDOCS * factor)
            rescored = min(_at_least(self.n_rescored, FIRST_RESCORED * factor), ndocs)
            setting = Setting(self.nprobe[min(rung, len(self.nprobe) - 1)], ndocs, rescored)
            if setting != previous:
                yield setting
            previous = setting
        top = Setting(self.nprobe[-1], self.ndocs[-1], self.n_rescored[-1])
        if top != previous:
            yield top

    def below(self, setting: Setting) -> Iterator[Setting]:
        """Settings with one parameter lower."""
        for axis in range(3):
            for stride in STRIDES:
                yield from self._moved(setting, {axis: -stride})

    def exchanges(self, setting: Setting) -> Iterator[Setting]:
        """Settings with one parameter lower by a level and another higher by one."""
        for down in range(3):
            for up in range(3):
                if up != down:
                    yield from self._moved(setting, {down: -1, up: 1})

    def _moved(self, setting: Setting, steps: dict[int, int]) -> Iterator[Setting]:
        axes = (self.nprobe, self.ndocs, self.n_rescored)
        values = [setting.nprobe, setting.ndocs, setting.n_rescored]
        for axis, step in steps.items():
            levels = axes[axis]
            place = levels.index(_at_least(levels, values[axis])) + step
            if not 0 <= place < len(levels):
                return
            values[axis] = levels[place]
        moved = Setting(*values)
        if moved.n_rescored <= moved.ndocs:
            yield moved


def _doublings(first: int, most: int) -> list[int]:
    values = []
    while first < most:
        values.append(first)
        first *= 2
    return values


def _at_least(levels: tuple[int, ...], value: int) -> int:
    """The lowest level that is not below the value; the highest where all are."""
    return next((level for level in levels if level >= value), levels[-1])
