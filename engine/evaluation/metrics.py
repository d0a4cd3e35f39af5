"""Quality of a ranking against judgements, computed by the ir-measures package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import MissingDependencyError

MEASURES: Final = {
    "nDCG@10": "nDCG@10",
    "Recall@100": "R@100",
    "MRR@10": "RR@10",
    "Success@5": "Success@5",
}
"""Our names for the measures and those of the package."""

Run = Mapping[str, Mapping[str, float]]
"""Query id to document id to score; higher is better."""


def measure(qrels: Mapping[str, Mapping[str, int]], run: Run) -> dict[str, float]:
    """Average each of `MEASURES` over all judged queries.

    A query that the run lacks counts as zero. Gains are linear in the grade, and a grade of 1
    or more is relevant, as in trec_eval.

    Returns:
        The name of each measure and its mean, from 0 to 1.

    Raises:
        MissingDependencyError: ir-measures is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise MissingDependencyError(
            "Measuring needs the package ir-measures: pip install 'weft[evaluate]'."
        ) from error
    measures = {name: ir_measures.parse_measure(theirs) for name, theirs in MEASURES.items()}
    complete = {query: dict(run.get(query, {})) for query in qrels}
    judged = {query: dict(grades) for query, grades in qrels.items()}
    values = ir_measures.calc_aggregate(list(measures.values()), judged, complete)
    return {name: float(values[theirs]) for name, theirs in measures.items()}
