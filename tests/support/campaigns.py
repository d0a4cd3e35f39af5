"""Sizes of campaigns, and the lines of counts with which they end."""

import os
from collections.abc import Iterable

FULL = os.environ.get("WEFT_CRASH") == "full"
"""Whether `make crash` runs, instead of `make test`."""

lines: list[str] = []
"""What the campaigns of this run have counted; printed at its end."""


def size(short: int, full: int) -> int:
    """How often a campaign does what it does."""
    return full if FULL else short


def report(campaign: str, counts: Iterable[tuple[str, int]]) -> None:
    """Tell what a campaign has counted."""
    lines.append(f"{campaign}: " + ", ".join(f"{count:,} {what}" for what, count in counts))
