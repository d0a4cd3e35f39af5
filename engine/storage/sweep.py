"""The sweep: settles numbers that nobody will use, so that the floor of applied changes rises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .writer import Writer


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did.

    Args:
        generation: the newest one afterwards.
        committed: whether it changed the index.
        closed: sequences that nobody had claimed.
        expired: sequences whose claims were left behind.
    """

    generation: int
    committed: bool
    closed: tuple[int, ...] = ()
    expired: tuple[int, ...] = ()


def sweep(writer: Writer) -> SweepReport:
    """Apply as empty changes the sequences that were given up; see `SweepReport`."""
    with writer.snapshot() as base:
        return SweepReport(base.generation, committed=False)
