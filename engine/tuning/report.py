"""What a tuning found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """The three parameters of a search that decide between time and recall.

    Args:
        nprobe: inverted lists per query vector.
        ndocs: passages that survive the first cut.
        n_rescored: of these, passages that are scored on their residuals.
    """

    nprobe: int
    ndocs: int
    n_rescored: int

    def within(self, other: Setting) -> bool:
        """Whether no parameter is above the other's: it then finds no more and costs no more."""
        return (
            self.nprobe <= other.nprobe
            and self.ndocs <= other.ndocs
            and self.n_rescored <= other.n_rescored
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting that was measured.

    Args:
        nprobe, ndocs, n_rescored: parameters of `search`.
        recall: mean over the queries.
        recall_error: standard error of that mean; what other queries give differs by so much.
        milliseconds: of a query's search without encoding and without texts, the median over
            the queries of the fastest of some repetitions.
    """

    nprobe: int
    ndocs: int
    n_rescored: int
    recall: float
    recall_error: float
    milliseconds: float

    @property
    def setting(self) -> Setting:
        """The parameters alone."""
        return Setting(self.nprobe, self.ndocs, self.n_rescored)


@dataclass(frozen=True, slots=True)
class Tuning:
    """The cheapest parameters that reach a recall, and what was tried.

    Args:
        k: passages wanted per query.
        wanted_recall: what was asked for.
        reached: whether `chosen` has it.
        chosen: the fastest trial that reaches the recall; where none does, the best found.
        default: what a search does when it is not told otherwise.
        front: of the trials that were timed beside each other last, those that none beats in
            both recall and time, fastest first.
        n_tried: settings measured.
        n_queries: queries measured, of `n_given`: fewer where exact scoring took too long.
        n_given: queries handed in or sampled.
        sampled: whether the queries were made from the index's own passages.
        exact_milliseconds: median time of a search that scores every passage.
        seconds: that measuring took; encoding the queries comes before.
        notes: what to know before relying on it, in sentences.
    """

    k: int
    wanted_recall: float
    reached: bool
    chosen: Trial
    default: Trial
    front: tuple[Trial, ...]
    n_tried: int
    n_queries: int
    n_given: int
    sampled: bool
    exact_milliseconds: float
    seconds: float
    notes: tuple[str, ...]

    @property
    def call(self) -> str:
        """The search with the parameters that were chosen, to be copied."""
        chosen = self.chosen
        return (
            f"index.search(query, k={self.k}, nprobe={chosen.nprobe}, ndocs={chosen.ndocs}, "
            f"n_rescored={chosen.n_rescored})"
        )


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that none beats in both recall and time, fastest first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.milliseconds, -t.recall, t.setting)):
        if not front or trial.recall > front[-1].recall:
            front.append(trial)
    return front


def cheapest(trials: Iterable[Trial], recall: float) -> Trial:
    """The fastest trial that reaches a recall; where none does, the best, then the fastest."""
    listed = list(trials)
    good = [trial for trial in listed if trial.recall >= recall]
    if good:
        return min(good, key=lambda t: (t.milliseconds, t.setting))
    return min(listed, key=lambda t: (-t.recall, t.milliseconds, t.setting))
