"""The sweep: settles sequences that nobody will use, so that the floor of applied changes rises.

A sequence is given up where its owner died between claim and commit, or where the power took a
claim. It is applied as an empty change, but never because it was not seen in a listing: a late
claimer could take it meanwhile and be acknowledged. What has no claim is claimed first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .claims import Waiting, claim, claim_age_seconds
from .commit import Outcome, Prepared
from .layout import new_identifier, submission_name
from .manifest import Manifest
from .pins import PIN_SECONDS
from .reader import Snapshot
from .sequences import Applied

if TYPE_CHECKING:
    from .writer import Writer

WINDOW: Final = 4096
"""Sequences that one sweep looks at: the lowest that are not applied, since they hold the floor."""


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


def sweep(writer: Writer, *, lease_seconds: float = PIN_SECONDS) -> SweepReport:
    """Apply as empty changes the sequences that were given up, in one commit if there are any.

    Args:
        writer: of the index.
        lease_seconds: a claim that was not renewed for this long is left behind.

    Raises:
        StorageError: the disk refused; nothing was changed.
        CommitConflictError, CommitUncertainError, WriterClosedError: as `Writer.commit`.
    """
    run = _Sweep(writer, lease_seconds)
    # A look at many files is not worth the lock, under which each is looked at again.
    run.look()
    with writer.lock:
        return run.settle()


class _Sweep:
    """One run."""

    def __init__(self, writer: Writer, lease_seconds: float) -> None:
        self._writer = writer
        self._directory = writer.directory
        self._lease_seconds = lease_seconds
        self._generation = 0
        self._gaps: list[int] = []
        self._expired: list[int] = []
        self._closed: list[int] = []
        self._settled: set[int] = set()

    def look(self) -> None:
        """Find sequences without a claim, and claims that were left behind."""
        # Listed before a generation is read: what is gone from it, the generation has applied.
        waiting = Waiting(self._directory)
        with self._writer.snapshot() as base:
            self._generation, applied = base.generation, Applied.of(base.manifest)
            end = max(base.manifest.next_sequence, waiting.next_sequence)
        window = applied.missing(end, WINDOW)
        present = {*waiting.between(window[0], window[-1])} if window else set()
        self._gaps = [sequence for sequence in window if sequence not in present]
        self._expired = self._left_behind(s for s in window if s in present)

    def settle(self) -> SweepReport:
        """Apply what was found, under the writer's lock."""
        self._closed = [sequence for sequence in self._open_gaps() if self._claim(sequence)]
        committed = self._commit()
        return SweepReport(
            self._generation if committed is None else committed.generation,
            committed is not None,
            tuple(self._closed),
            tuple(self._expired),
        )

    def _open_gaps(self) -> list[int]:
        """The gaps that no generation has applied since the look, and with them their files.

        Raises:
            WriterClosedError: the writer was closed since then.
        """
        with self._writer.snapshot() as base:
            self._generation, applied = base.generation, Applied.of(base.manifest)
        return [sequence for sequence in self._gaps if sequence not in applied]

    def _commit(self) -> Manifest | None:
        claims = self._writer.claims
        for sequence in self._closed:
            claims.abandon(sequence)
        # Those that the writer abandoned before belong to nobody either.
        if not self._expired and not claims.abandoned():
            return None
        committed = self._writer.apply(self._prepare, Outcome())
        if committed is not None:
            claims.settle(self._settled)
        return committed

    def _prepare(self, base: Snapshot) -> Prepared | None:
        # An owner that woke up meanwhile has renewed its claim and keeps it.
        self._expired = self._left_behind(self._expired)
        self._settled = {*self._expired, *self._writer.claims.abandoned()}
        before = Applied.of(base.manifest)
        after = before.extended(self._settled)
        if after == before:
            return None
        successor = replace(
            base.manifest,
            generation=base.generation + 1,
            commit_uuid=new_identifier(),
            next_sequence=max(base.manifest.next_sequence, after.highest + 1),
            applied_floor=after.floor,
            applied_above=after.above,
        )
        return Prepared(successor)

    def _left_behind(self, sequences: Iterable[int]) -> list[int]:
        """Those that are claims, not queued changes, and whose leases are over."""
        sequences = list(sequences)
        if not sequences:
            return []
        now_seconds = self._directory.clock_seconds()
        ages = [claim_age_seconds(self._directory, number, now_seconds) for number in sequences]
        return [
            number
            for number, age in zip(sequences, ages, strict=True)
            if age is not None and age >= self._lease_seconds
        ]

    def _claim(self, sequence: int) -> bool:
        try:
            claim(self._directory, submission_name(sequence))
        except FileExistsError:
            return False
        return True
