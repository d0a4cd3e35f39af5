"""The table of an evaluation as Markdown, for documents and issues."""

from __future__ import annotations

from collections.abc import Iterator

from .metrics import MEASURES
from .runs import Evaluation, Row

HEADINGS = ("system", *MEASURES, "ms per query", "bytes per token")


def cells(row: Row) -> list[str]:
    """One row's values as text, in the order of `HEADINGS`."""
    size = "–" if row.bytes_per_token is None else f"{row.bytes_per_token:.1f}"
    metrics = [f"{row.metrics[name]:.4f}" for name in MEASURES]
    return [row.system, *metrics, f"{row.milliseconds:.2f}", size]


def title(evaluation: Evaluation) -> str:
    """One line that says what was measured."""
    return (
        f"{evaluation.collection}: {evaluation.n_documents:,} documents, "
        f"{evaluation.n_passages:,} passages, {evaluation.n_tokens:,} tokens, "
        f"{evaluation.n_queries:,} queries; encoder {evaluation.encoder}; "
        f"{evaluation.target} kernels, threads: {evaluation.threads}"
    )


def markdown(evaluation: Evaluation) -> str:
    """The title and the table."""
    return "\n".join([title(evaluation), "", *_lines(evaluation)])


def _lines(evaluation: Evaluation) -> Iterator[str]:
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|---" + "|---:" * (len(HEADINGS) - 1) + "|"
    for row in evaluation.rows:
        yield "| " + " | ".join(cells(row)) + " |"
