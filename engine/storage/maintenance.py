"""Maintenance: does what is due to an index, in bounded steps that are a commit each.

It may be interrupted at any moment, also by a kill, and goes on where it stopped. Several may
run at once, and writers meanwhile: a step whose ground has changed is thrown away, and what is
due is looked up anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..errors import EncoderError, MissingDependencyError
from .collection import CollectionReport
from .due import Due, Task
from .encoding import Encode, NotFromTextError
from .generation import newest_generation
from .reader import Snapshot
from .replacement import Replacement
from .sweep import sweep
from .writer import Writer

logger = logging.getLogger(__name__)

MAX_LOST: Final = 16
"""Steps in a row that may be thrown away because other writers were first."""


@dataclass(frozen=True, slots=True)
class MaintenanceStep:
    """One thing that was done.

    Args:
        name: "sweep", "train", "append", "retrain", "convert", "merge", "rewrite" or "collect".
        reason: why it was due, and what came of it.
        generation: the newest one afterwards.
        seconds: wall time.
    """

    name: str
    reason: str
    generation: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """What a maintenance did.

    Args:
        generation: the newest one afterwards.
        steps: in the order in which they were done; none if nothing was due.
        left: what is due and was not done, with the reason.
    """

    generation: int
    steps: tuple[MaintenanceStep, ...] = ()
    left: tuple[str, ...] = ()


def maintain(
    writer: Writer,
    encode: Encode | None = None,
    *,
    seconds: float | None = None,
    max_steps: int | None = None,
    seed: int = 0,
) -> MaintenanceReport:
    """Do what is due: sweep, train, append, retrain, convert, merge, rewrite, collect.

    Collects first, since a full disk may have no room for anything else, and last, also where
    something else fails.

    Args:
        writer: of the index.
        encode: for the texts of the index; None if it has no encoder.
        seconds: no further step is begun after so long; None does all that is due.
        max_steps: commits at most, with 0 nothing is done; None does all that is due.
        seed: of samples and trainings.

    Returns:
        What was done. If nothing was due there is no new generation.

    Raises:
        CorruptIndexError: a segment is damaged; what was done before stays.
        StorageError: the disk refused; likewise.
        CommitConflictError, CommitUncertainError, WriterClosedError: as `Writer.commit`.
    """
    return _Maintenance(writer, encode, _Budget(seconds, max_steps), seed).run()


@dataclass(slots=True)
class _Budget:
    """How much may still be done."""

    seconds: float | None
    steps: int | None
    started: float = field(default_factory=time.monotonic)

    @property
    def is_spent(self) -> bool:
        elapsed = time.monotonic() - self.started
        too_long = self.seconds is not None and elapsed >= self.seconds
        return too_long or (self.steps is not None and self.steps <= 0)

    def take(self) -> None:
        if self.steps is not None:
            self.steps -= 1


class _Maintenance:
    """One run."""

    def __init__(self, writer: Writer, encode: Encode | None, budget: _Budget, seed: int) -> None:
        self._writer = writer
        self._due = Due(writer.directory, encode, seed)
        self._budget = budget
        self._steps: list[MaintenanceStep] = []
        self._generation = 0
        self._lost = 0

    def run(self) -> MaintenanceReport:
        may_act = not self._budget.is_spent
        if may_act:
            self._note_collection(self._writer.try_to_collect)
        try:
            if may_act:
                self._sweep()
            while self._step():
                pass
        except Exception:
            # The first error is the one to be told.
            if may_act:
                self._writer.try_to_collect()
            raise
        if may_act:
            self._note_collection(self._writer.collect)
        left = tuple(dict.fromkeys(self._due.left.values()))
        return MaintenanceReport(self._generation, tuple(self._steps), left)

    def _sweep(self) -> None:
        started = time.monotonic()
        report = sweep(self._writer)
        self._generation = report.generation
        if report.committed:
            n_settled = len(report.closed) + len(report.expired)
            self._note("sweep", f"{n_settled} sequences that nobody will use", started)

    def _step(self) -> bool:
        """Do what is due next; False if nothing is, or if no more may be done."""
        started = time.monotonic()
        with self._writer.snapshot() as base:
            self._generation = base.generation
            task = self._due.next(base)
            if task is None:
                return False
            if self._budget.is_spent:
                self._due.leave("", f"{task.name}: {task.reason}; the budget is spent")
                return False
            done = self._do(task, base)
        if done is None:
            return self._lost <= MAX_LOST
        self._note(task.name, done, started)
        return True

    def _do(self, task: Task, base: Snapshot) -> str | None:
        """Do a task; None if it cannot be done, or if another writer was first."""
        with Replacement(self._writer, base) as work:
            try:
                result = self._writer.guard(lambda: task.write(work))
            except (NotFromTextError, EncoderError, MissingDependencyError) as error:
                self._due.fail(task, error)
                return None
            committed = work.commit()
        if committed is not None:
            self._due.settle(task, work)
            self._lost, self._generation = 0, committed.generation
            return f"{task.reason}: {result}" if result else task.reason
        if work.reason:
            self._lost += 1
            logger.info("A step of maintenance was thrown away: %s.", work.reason)
        else:
            self._due.leave(task.key, f"{task.name}: {task.reason}, but it would not help")
        return None

    def _note(self, name: str, reason: str, started: float) -> None:
        if name != "collect":
            self._budget.take()
        seconds = time.monotonic() - started
        self._steps.append(MaintenanceStep(name, reason, self._generation, seconds))

    def _note_collection(self, collect: Callable[[], CollectionReport | None]) -> None:
        started = time.monotonic()
        report = collect()
        if report is not None and report.removed:
            self._generation = newest_generation(self._writer.directory) or self._generation
            freed = f"{len(report.removed)} names, {report.freed_bytes:,} bytes"
            self._note("collect", freed, started)
