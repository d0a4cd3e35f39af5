"""Puts sequences of like length together, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Group sequences by length.

    Args:
        lengths: tokens of each sequence.
        max_tokens: bound on a batch's tokens, padding included; a longer sequence goes alone.

    Returns:
        Index lists that together hold each index once, longest sequences first, so that the
        first batch already shows whether memory suffices.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and longest * (len(batch) + 1) > max_tokens:
            batches.append(batch)
            batch = []
        if not batch:
            longest = lengths[index]
        batch.append(index)
    if batch:
        batches.append(batch)
    return batches
