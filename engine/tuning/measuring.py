"""Measures settings beside each other, query by query, so that a busy moment meets all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..search.pipeline import rank
from ..search.plan import SearchPlan, make_plan
from ..storage.segment import SegmentView
from .questions import Question
from .report import Setting, Trial


@dataclass(eq=False, slots=True)
class Measuring:
    """Measures settings on one generation, and keeps what was measured.

    Args:
        segments: of one snapshot.
        questions: queries with their right answers, one at least.
        k: passages wanted.
        threads: of a search; 0 for all cores.
        trials: by setting, measured last.
    """

    segments: Sequence[SegmentView]
    questions: Sequence[Question]
    k: int
    threads: int
    trials: dict[Setting, Trial] = field(default_factory=dict)

    def run(self, settings: Sequence[Setting], deadline: float | None, rounds: int) -> bool:
        """Measure some settings; those that were measured before are measured again.

        Args:
            settings: different ones.
            deadline: of `time.monotonic`, after which no further query is begun; None for none.
            rounds: times that each query is asked; the fastest counts, since what slows a
                search down is other work of the machine.

        Returns:
            Whether each query was asked once at least: without that nothing is kept. What a
            deadline leaves of further rounds counts.
        """
        plans = [self._plan(setting) for setting in settings]
        shape = (rounds, len(self.questions), len(settings))
        seconds = np.full(shape, np.nan)
        recalls = np.zeros(shape[1:])
        for number, row in np.ndindex(shape[:2]):
            if deadline is not None and time.monotonic() > deadline:
                break
            question = self.questions[row]
            # Each goes first in turn: what the one before has left in the caches helps the next.
            for column in np.roll(np.arange(len(settings)), row + number).tolist():
                seconds[number, row, column], recalls[row, column] = self._ask(
                    question, plans[column]
                )
        if np.isnan(seconds[0]).any():
            return False
        for column, setting in enumerate(settings):
            self.trials[setting] = _trial(setting, recalls[:, column], seconds[:, :, column])
        return True

    def _plan(self, setting: Setting) -> SearchPlan:
        return make_plan(
            self.k,
            group_by="passage",
            threads=self.threads,
            nprobe=setting.nprobe,
            ndocs=setting.ndocs,
            n_rescored=setting.n_rescored,
        )

    def _ask(self, question: Question, plan: SearchPlan) -> tuple[float, float]:
        if question.query.source is not None:
            # One more, since the passage that does not count is found as well.
            plan = replace(plan, k=plan.k + 1, n_rescored=max(plan.n_rescored, plan.k + 1))
        started = time.perf_counter()
        found = rank(question.query.vectors, self.segments, plan)
        return time.perf_counter() - started, question.recall(found)


def _trial(setting: Setting, recalls: NDArray[np.float64], seconds: NDArray[np.float64]) -> Trial:
    spread = recalls.std(ddof=1) / np.sqrt(len(recalls)) if len(recalls) > 1 else 0.0
    return Trial(
        nprobe=setting.nprobe,
        ndocs=setting.ndocs,
        n_rescored=setting.n_rescored,
        recall=float(recalls.mean()),
        recall_error=float(spread),
        milliseconds=float(np.median(np.nanmin(seconds, axis=0))) * 1000,
    )
