"""Rounds of measurement: in each, every engine at every setting takes its turn on one core."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .catalogue import DEPTHS, Setting, Variant
from .environments import PeerError
from .process import WorkerProcess
from .vectors import Collection, index_folder

KEPT: Final = ("k", "wall_ms", "cpu_ms", "answers", "error")
"""Fields of a case that are written down as they are."""

OPEN_SECONDS: Final = 600.0
TRIAL: Final = 3
"""Queries that tell how many fit into the time for a setting."""


@dataclass
class Case:
    """One engine at one setting and one k, and what came of it.

    Args:
        variant: the engine's index.
        setting: the search parameters.
        k: passages asked for.
        n_queries: in each round; 0 until a trial has told.
        wall_ms: of each query, one list per round.
        cpu_ms: likewise, processor time.
        answers: passage numbers, by the number of the query.
        error: why it was given up; empty as long as it works.
    """

    variant: Variant
    setting: Setting
    k: int
    n_queries: int = 0
    wall_ms: list[list[float]] = field(default_factory=list)
    cpu_ms: list[list[float]] = field(default_factory=list)
    answers: dict[int, list[int]] = field(default_factory=dict)
    error: str = ""


@dataclass
class Serving:
    """A worker that is open, and what it reported last.

    Args:
        variant: the engine's index.
        worker: its process.
        open_seconds: that opening took.
        peak_bytes: resident at most, mapped files included.
        anonymous_bytes: resident and not of a file, after the last queries.
    """

    variant: Variant
    worker: WorkerProcess
    open_seconds: float
    peak_bytes: int = 0
    anonymous_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """How long and how often is measured.

    Args:
        repeats: rounds.
        seconds: at most for one setting at one k in one round.
        max_queries: in one round, however fast the engine is; 0 for all.
        core: that all run on.
    """

    repeats: int
    seconds: float
    max_queries: int
    core: int


@dataclass
class Measured:
    """All that one collection gave."""

    cases: list[Case]
    serving: dict[str, Serving]
    failed: dict[str, str]

    def write(self, path: Path) -> None:
        """Keep every single time and answer, as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        cases = [
            {
                "engine": case.variant.name,
                "setting": case.setting.name,
                "parameters": dict(case.setting.parameters(case.k)),
                **{name: getattr(case, name) for name in KEPT},
            }
            for case in self.cases
        ]
        path.write_text(json.dumps({"cases": cases, "failed": self.failed}))


def measure(
    data: Collection, variants: Mapping[Variant, Path], cache: Path, plan: Plan
) -> Measured:
    """Open all engines, then let them take turns.

    Args:
        data: the vectors, with the queries.
        variants: engines whose index is built, each with its interpreter.
        cache: of the peers.
        plan: how long and how often.

    Returns:
        Times and answers. An engine that fails is left out from there on, and named.
    """
    out = Measured([], {}, {})
    with ExitStack() as stack:
        for variant, python in variants.items():
            try:
                out.serving[variant.name] = _open(stack, data, variant, python, cache, plan)
            except PeerError as error:
                out.failed[variant.name] = str(error)
        out.cases = list(_cases(list(variants), out.serving))
        for case in out.cases:
            _trial(case, out.serving, data, plan)
        for number in range(plan.repeats):
            print(f"round {number + 1} of {plan.repeats}: {data.title} ...", flush=True)
            for case in _order(out.cases, number):
                _turn(case, out.serving[case.variant.name], data, number, plan)
    return out


def _open(
    stack: ExitStack, data: Collection, variant: Variant, python: Path, cache: Path, plan: Plan
) -> Serving:
    folder = index_folder(cache, data, variant)
    worker = WorkerProcess(variant, python, cache, data.folder, folder, core=plan.core)
    stack.enter_context(worker)
    answer = worker.ask("open", OPEN_SECONDS)
    return Serving(variant, worker, answer["seconds"])


def _cases(variants: Sequence[Variant], serving: Mapping[str, Serving]) -> Iterator[Case]:
    for variant in variants:
        if variant.name in serving:
            for setting in variant.settings:
                yield from (Case(variant, setting, k) for k in DEPTHS)


def _order(cases: list[Case], number: int) -> list[Case]:
    """Every second round goes backwards, so that drift of the machine falls on all alike."""
    return cases[::-1] if number % 2 else cases


def _trial(case: Case, serving: Mapping[str, Serving], data: Collection, plan: Plan) -> None:
    """Find out how many queries fit into the time."""
    total = len(data.corpus.queries)
    most = min(plan.max_queries or total, total)
    answer = _ask(case, serving[case.variant.name], list(range(min(TRIAL, total))), plan)
    if answer is not None:
        typical = sorted(answer["wall_ms"])[len(answer["wall_ms"]) // 2]
        case.n_queries = max(min(int(plan.seconds * 1000 / max(typical, 1e-3)), most), TRIAL)


def _turn(case: Case, serving: Serving, data: Collection, number: int, plan: Plan) -> None:
    """One round of one case; where not all queries fit, each round takes others."""
    if case.error:
        return
    total = len(data.corpus.queries)
    first = number * case.n_queries
    queries = [(first + i) % total for i in range(case.n_queries)]
    answer = _ask(case, serving, queries, plan)
    if answer is None:
        return
    case.wall_ms.append(answer["wall_ms"])
    case.cpu_ms.append(answer["cpu_ms"])
    case.answers.update(zip(queries, answer["answers"], strict=True))
    serving.peak_bytes = answer["peak_bytes"]
    serving.anonymous_bytes = answer["anonymous_bytes"]


def _ask(case: Case, serving: Serving, queries: list[int], plan: Plan) -> Mapping[str, Any] | None:
    """Times and answers; None, with the reason in the case, where the engine failed."""
    parameters = dict(case.setting.parameters(case.k))
    limit = 600 + 10 * plan.seconds
    try:
        return serving.worker.ask(
            "measure", limit, k=case.k, parameters=parameters, queries=queries
        )
    except PeerError as error:
        case.error = str(error)
        return None
