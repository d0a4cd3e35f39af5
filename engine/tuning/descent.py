"""Looks for the cheapest setting that reaches a recall: a ladder up, then steps down.

Recall and time grow with each of the three parameters, so that a setting within one that missed
the recall misses it too, and one that holds another that reached it is no cheaper: neither is
measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .grid import Grid
from .measuring import Measuring
from .report import Setting, Trial, cheapest

FIRST_RUNGS: Final = 4

ROUNDS: Final = 2

LEAST_GAIN: Final = 0.02
"""Share of the time that an exchange must save: less may be noise."""


@dataclass(frozen=True, eq=False, slots=True)
class Descent:
    """The search for the cheapest setting.

    Args:
        grid: what may be tried.
        measuring: tries it.
        recall: wanted.
        deadline: of `time.monotonic`; what has begun by then is given up.
    """

    grid: Grid
    measuring: Measuring
    recall: float
    deadline: float

    def run(self, default: Setting) -> bool:
        """Try settings until none beside the cheapest is cheaper.

        Args:
            default: measured with the first ones, for comparison.

        Returns:
            Whether there was time for all that was worth trying.
        """
        rungs = list(self.grid.ladder())
        # Without a deadline: something must have been measured.
        self.measuring.run(unique([*rungs[:FIRST_RUNGS], default]), None, ROUNDS)
        for rung in rungs[FIRST_RUNGS:]:
            if self._reached():
                break
            if not self.measuring.run([rung], self.deadline, ROUNDS):
                return False
        return not self._reached() or self._descend()

    def _reached(self) -> bool:
        return any(self._reaches(trial) for trial in self.measuring.trials.values())

    def _reaches(self, trial: Trial) -> bool:
        return trial.recall >= self.recall

    def _descend(self) -> bool:
        best = cheapest(self.measuring.trials.values(), self.recall).setting
        while True:
            lower, in_time = self._step(best, self.grid.below(best), 0.0)
            if in_time and lower == best:
                lower, in_time = self._step(best, self.grid.exchanges(best), LEAST_GAIN)
            if not in_time:
                return False
            if lower == best:
                return True
            best = lower

    def _step(
        self, best: Setting, candidates: Iterable[Setting], gain: float
    ) -> tuple[Setting, bool]:
        """The cheapest of some settings beside the best one, measured in the same run."""
        trials = self.measuring.trials
        tried = [setting for setting in unique(candidates) if self._worth_trying(setting)]
        if not tried:
            return best, True
        if not self.measuring.run([best, *tried], self.deadline, ROUNDS):
            return best, False
        good = [trials[setting] for setting in tried if self._reaches(trials[setting])]
        first = min(good, key=lambda trial: trial.milliseconds, default=None)
        if first is None:
            return best, True
        within = first.setting.within(best)
        saved = 1 - first.milliseconds / trials[best].milliseconds
        return (first.setting if within or saved >= gain else best), True

    def _worth_trying(self, setting: Setting) -> bool:
        return setting not in self.measuring.trials and not any(
            trial.setting.within(setting) if self._reaches(trial) else setting.within(trial.setting)
            for trial in self.measuring.trials.values()
        )


def unique(settings: Iterable[Setting]) -> list[Setting]:
    """The settings without repetitions, in their order."""
    return list(dict.fromkeys(settings))
