"""`Index.tune`: checks what was asked, measures within a bound of time, and reports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..errors import InvalidInputError, InvalidParameterError, InvalidQueryError
from ..search.plan import default_parameters
from ..shown import shown
from ..validation import check_integer, finite_number
from ..view import IndexView
from ..view import Query as GivenQuery
from .descent import Descent, unique
from .grid import Grid
from .measuring import Measuring
from .questions import Query, Question, answered, sample_queries
from .report import Setting, Trial, Tuning, cheapest, pareto_front

MAX_K: Final = 1000
MAX_SAMPLE: Final = 10_000
SAMPLE: Final = 200

ANSWERING, EXPLORING = 0.5, 0.85
"""Shares of the time after which exact scoring ends, and the search for settings."""

N_NEAREST, N_FASTEST, FINAL_ROUNDS = 6, 4, 4
"""What is timed last, beside the best: the nearest to it in recall, the fastest that reach it."""

FEW_QUERIES: Final = 50


def tune(
    view: IndexView,
    queries: Sequence[GivenQuery] | None,
    *,
    recall: float,
    k: int,
    sample: int | None,
    seconds: float,
    threads: int,
) -> Tuning:
    """Find the cheapest parameters that reach a recall; see `Index.tune`."""
    _check(queries, recall, k, sample, seconds)
    grid = Grid.of(k, _check_coded(view, k))
    given = _queries(view, queries, sample or SAMPLE)
    started = time.monotonic()
    questions, exact = _answer(given, view, k, threads, started + ANSWERING * seconds)
    measuring = Measuring(view.segments, questions, k, threads)
    default = _default(k)
    descent = Descent(grid, measuring, recall, started + EXPLORING * seconds)
    in_time = descent.run(default)
    trials = _time_again(measuring, default, recall, started + seconds)
    chosen = cheapest(trials.values(), recall)
    return Tuning(
        k=k,
        wanted_recall=recall,
        reached=chosen.recall >= recall,
        chosen=chosen,
        default=trials[default],
        front=tuple(pareto_front(trials.values())),
        n_tried=len(measuring.trials),
        n_queries=len(questions),
        n_given=len(given),
        sampled=queries is None,
        exact_milliseconds=exact * 1000,
        seconds=time.monotonic() - started,
        notes=tuple(_notes(chosen, recall, len(questions), len(given), queries is None, in_time)),
    )


def _check(queries: object, recall: object, k: object, sample: object, seconds: object) -> None:
    """Refuse what cannot be tuned, before anything is encoded or measured."""
    check_integer("k", k, 1, MAX_K)
    share, budget = finite_number(recall), finite_number(seconds)
    if share is None or not 0 < share <= 1:
        raise InvalidParameterError(
            f"recall is {shown(recall)}: use a number above 0 and up to 1, such as 0.95."
        )
    if budget is None or budget <= 0:
        raise InvalidParameterError(f"seconds is {shown(seconds)}: use a finite number above 0.")
    if sample is not None:
        check_integer("sample", sample, 1, MAX_SAMPLE)
        if queries is not None:
            raise InvalidParameterError(
                "queries and sample exclude each other: leave sample out to tune on the queries."
            )
    if queries is None:
        return
    if isinstance(queries, str | bytes) or not isinstance(queries, Sequence | np.ndarray):
        raise InvalidQueryError(
            f"queries is a {type(queries).__name__}: pass a list of texts or of arrays "
            "[vectors, dim]."
        )
    if not len(queries):
        raise InvalidQueryError(
            "queries is empty: pass some, or None to sample the index's own passages."
        )


def _default(k: int) -> Setting:
    parameters = default_parameters(k)
    return Setting(parameters["nprobe"], parameters["ndocs"], max(parameters["n_rescored"], k))


def _check_coded(view: IndexView, k: int) -> int:
    """How many passages may be found in coded segments.

    Raises:
        InvalidInputError: so few that nothing depends on the parameters.
    """
    coded = [segment for segment in view.segments if segment.kind != "flat"]
    n_passages = sum(segment.n_alive_passages for segment in coded)
    if not n_passages:
        raise InvalidInputError(
            "Nothing to tune: no passage of the index is compressed, so that each search scores "
            "all of them exactly. Tune once it has grown past flat_below_tokens and `maintain` or "
            "`compact` has trained a codec."
        )
    if n_passages <= k:
        raise InvalidInputError(
            f"Nothing to tune: the index holds {n_passages:,} compressed passages, no more than "
            f"the k of {k:,}, so that each search finds all of them. Use a smaller k."
        )
    return n_passages


def _queries(view: IndexView, queries: Sequence[GivenQuery] | None, sample: int) -> list[Query]:
    """The queries in random order, so that the first ones stand for all."""
    if queries is None:
        made = sample_queries(view.segments, sample)
    else:
        made = [Query(vectors) for vectors in view.query_vectors(list(queries))]
    order = np.random.default_rng(0).permutation(len(made))
    return [made[row] for row in order.tolist()]


def _answer(
    queries: Sequence[Query], view: IndexView, k: int, threads: int, deadline: float
) -> tuple[list[Question], float]:
    """Questions of as many queries as there is time for, and the median time of each."""
    questions: list[Question] = []
    seconds: list[float] = []
    for query in queries:
        if questions and time.monotonic() > deadline:
            break
        started = time.perf_counter()
        questions.append(answered(query, k, view.segments, threads))
        seconds.append(time.perf_counter() - started)
    return questions, float(np.median(seconds))


def _time_again(
    measuring: Measuring, default: Setting, recall: float, deadline: float
) -> dict[Setting, Trial]:
    """Time the best beside each other while there is time, since the first look was short.

    Returns:
        Their trials; all, as they were, where the time did not suffice.
    """
    trials = measuring.trials
    chosen = cheapest(trials.values(), recall)
    near = sorted(pareto_front(trials.values()), key=lambda t: abs(t.recall - chosen.recall))
    good = sorted(
        (trial for trial in trials.values() if trial.recall >= recall),
        key=lambda trial: trial.milliseconds,
    )
    last = [chosen, *near[:N_NEAREST], *good[:N_FASTEST]]
    settings = unique([*(trial.setting for trial in last), default])
    if not measuring.run(settings, deadline, FINAL_ROUNDS):
        return trials
    return {setting: trials[setting] for setting in settings}


def _notes(
    chosen: Trial, recall: float, n_queries: int, n_given: int, sampled: bool, in_time: bool
) -> list[str]:
    notes = []
    if sampled:
        notes.append(
            "The queries are the beginnings of the index's own passages, each left out of its own "
            "answer: what people ask is further from the text, so that the recall is optimistic."
        )
    if n_queries < n_given:
        notes.append(f"Exact scoring left time for {n_queries:,} of {n_given:,} queries.")
    if n_queries < FEW_QUERIES:
        notes.append(f"{n_queries:,} queries tell little: use some hundreds if you can.")
    if chosen.recall < recall:
        notes.append(
            f"A recall of {recall:g} was not reached; the best found is {chosen.recall:.4f}. "
            'Scoring every passage, effort="exact", has a recall of 1.'
        )
    if not in_time:
        notes.append("The time ran out before all that is worth trying was tried: allow more.")
    return notes
