"""Which changes have been applied: a floor, and ranges of sequences above it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..errors import CommitConflictError
from .fields import LARGEST
from .manifest import MAX_APPLIED_RANGES, Manifest

MAX_SEQUENCE: Final = LARGEST - 1
"""The highest sequence, so that a manifest can hold the next one."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A set of sequences, small however many there are as long as few are missing below others.

    Args:
        floor: all up to it are in the set.
        above: ranges `(first, last)` that are, ascending, with gaps before and between them.
    """

    floor: int = 0
    above: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> Applied:
        """What a generation has applied."""
        return cls(manifest.applied_floor, manifest.applied_above)

    def __contains__(self, sequence: int) -> bool:
        if sequence <= self.floor:
            return True
        at = bisect_right(self.above, (sequence, LARGEST)) - 1
        return at >= 0 and sequence <= self.above[at][1]

    @property
    def highest(self) -> int:
        """The highest sequence in the set."""
        return self.above[-1][1] if self.above else self.floor

    def extended(self, sequences: Iterable[int]) -> Applied:
        """The set with more sequences.

        Raises:
            CommitConflictError: too many ranges for a manifest.
        """
        new = {(number, number) for number in sequences if number not in self}
        floor = self.floor
        above: list[tuple[int, int]] = []
        for first, last in sorted(new.union(self.above)):
            if first == floor + 1:
                floor = last
            elif above and first == above[-1][1] + 1:
                above[-1] = (above[-1][0], last)
            else:
                above.append((first, last))
        if len(above) > MAX_APPLIED_RANGES:
            raise CommitConflictError(
                f"More than {MAX_APPLIED_RANGES} changes wait for older ones that have not been "
                "applied; nothing was applied. Let the ingestion queue drain, or run maintenance."
            )
        return Applied(floor, tuple(above))

    def missing(self, end: int, most: int) -> list[int]:
        """The lowest sequences below `end` that are not in the set, at most so many."""
        found: list[int] = []
        number = self.floor + 1
        for first, last in (*self.above, (end, end)):
            found += range(number, min(first, end, number + most - len(found)))
            number = last + 1
        return found
