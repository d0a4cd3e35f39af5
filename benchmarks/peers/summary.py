"""Medians, spread, recall and ratios of what was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.corpus import Corpus

from .catalogue import Variant
from .measure import Case, Measured
from .vectors import Collection

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Spread:
    """A median of rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value per round."""
        return cls(float(np.median(values)), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One engine at one setting and one k.

    Args:
        case: what was asked.
        recalls: of each query that was asked, by its number.
        p50, p95: milliseconds per query: quantiles of each round.
        rounds: the p50 of each round.
    """

    case: Case
    recalls: Mapping[int, float]
    p50: Spread
    p95: Spread
    rounds: Sequence[float]

    @property
    def recall(self) -> float:
        """Mean over the queries that were asked."""
        return float(np.mean(list(self.recalls.values())))

    def recall_on(self, other: Row) -> float:
        """Mean over the queries that both were asked."""
        shared = self.recalls.keys() & other.recalls.keys()
        return float(np.mean([self.recalls[number] for number in shared])) if shared else 0.0

    def times_faster_than(self, other: Row) -> Spread:
        """How many times the other's p50 is this one's, round by round."""
        pairs = zip(other.rounds, self.rounds, strict=False)
        return Spread.of([theirs / ours for theirs, ours in pairs])


@dataclass(frozen=True)
class Build:
    """Making and holding one index.

    Args:
        variant: which engine and options.
        seconds, cpu_seconds: wall clock and processor time.
        bytes_per_token: on disk.
        build_peak, search_peak: bytes resident at most.
        search_anonymous: bytes that are not of a mapped file, after searching.
        open_seconds: until the first query can be asked.
    """

    variant: Variant
    seconds: float
    cpu_seconds: float
    bytes_per_token: float
    build_peak: int
    search_peak: int
    search_anonymous: int
    open_seconds: float


@dataclass(frozen=True)
class Summary:
    """What one collection gave, ready to be written down."""

    data: Collection
    rows: list[Row]
    builds: list[Build]
    failed: dict[str, str]

    def at(self, k: int) -> list[Row]:
        """Rows of one k."""
        return [row for row in self.rows if row.case.k == k]

    def weft_default(self, k: int) -> Row | None:
        """Weft as it is without any parameter."""
        rows = (row for row in self.at(k) if row.case.variant.is_weft)
        return next((row for row in rows if not row.case.setting.parameters(k)), None)

    def weft_reaching(self, row: Row) -> Row | None:
        """The fastest of Weft's rows whose recall, on the same queries, is no lower."""
        own = (other for other in self.at(row.case.k) if other.case.variant.is_weft)
        reaching = [other for other in own if other.recall_on(row) >= row.recall_on(other) - 1e-9]
        return min(reaching, key=lambda other: other.p50.median, default=None)


def recalls(corpus: Corpus, k: int, answers: Mapping[int, list[int]]) -> dict[int, float]:
    """Recall of the queries that were asked, by their number."""
    numbers = sorted(answers)
    part = dataclasses.replace(
        corpus,
        queries=[corpus.queries[number] for number in numbers],
        exact_ids=corpus.exact_ids[numbers],
        exact_scores=corpus.exact_scores[numbers],
        all_scores=corpus.all_scores[numbers],
    )
    values = part.recalls(k, [answers[number] for number in numbers])
    return dict(zip(numbers, values.tolist(), strict=True))


def summarise(
    data: Collection,
    measured: Measured,
    built: Mapping[str, Mapping[str, Any]],
    failed: Mapping[str, str],
    clock: str,
) -> Summary:
    """Bring times, answers and builds together.

    Args:
        data: what was searched.
        measured: times and answers.
        built: what building reported, by variant.
        failed: variants that could not be built, and why.
        clock: `wall` or `cpu`.
    """
    rows = [_row(data.corpus, case, clock) for case in measured.cases if case.wall_ms]
    why = {**failed, **measured.failed}
    for case in measured.cases:
        if case.error:
            why[f"{case.variant.name}, {case.setting.name}, k={case.k}"] = case.error
    return Summary(data, rows, list(_builds(data, measured, built)), why)


def _row(corpus: Corpus, case: Case, clock: str) -> Row:
    times = case.wall_ms if clock == "wall" else case.cpu_ms
    rounds = [float(np.percentile(values, 50)) for values in times]
    p95 = [float(np.percentile(values, 95)) for values in times]
    found = recalls(corpus, case.k, case.answers)
    return Row(case, found, Spread.of(rounds), Spread.of(p95), rounds)


def _builds(
    data: Collection, measured: Measured, built: Mapping[str, Mapping[str, Any]]
) -> list[Build]:
    return [
        Build(
            variant=serving.variant,
            seconds=built[name]["seconds"],
            cpu_seconds=built[name]["cpu_seconds"],
            bytes_per_token=built[name]["index_bytes"] / data.n_tokens,
            build_peak=built[name]["peak_bytes"],
            search_peak=serving.peak_bytes,
            search_anonymous=serving.anonymous_bytes,
            open_seconds=serving.open_seconds,
        )
        for name, serving in measured.serving.items()
    ]
