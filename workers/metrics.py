"""What a worker tells of its work: log lines, and Prometheus metrics where they are installed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..engine.storage.batch import EncodedBatch
from ..engine.storage.writer import Commit

logger = logging.getLogger("weft.workers")

LAG_SECONDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300)
BATCH_DOCUMENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def named(sequences: Iterable[int]) -> dict[str, list[int]]:
    """For a log record: the submissions that it is about."""
    return {"submissions": list(sequences)}


class Applied(Protocol):
    """A change that was applied."""

    sequence: int
    submission: Any


class Observer:
    """Told what a drain does; logs it with the numbers of the submissions."""

    def encoded(self, batch: EncodedBatch, seconds: float) -> None:
        """A batch was encoded."""
        logger.debug(
            "Encoded %d documents, %d tokens, in %.3f s",
            len(batch.documents),
            batch.n_tokens,
            seconds,
        )

    def committed(
        self, commit: Commit, changes: Sequence[Applied], n_documents: int, seconds: float
    ) -> None:
        """Changes were applied by a commit."""
        logger.info(
            "Generation %d: %d submissions, %d documents, %d superseded",
            commit.generation,
            len(changes),
            n_documents,
            len(commit.superseded),
            extra=named(change.sequence for change in changes),
        )

    def buried(self, sequence: int, reasons: Mapping[str, str]) -> None:
        """A change was set aside."""
        for id, reason in reasons.items():
            logger.error(
                "Set aside %s of submission %016d: %s",
                f"document {id!r}" if id else "all",
                sequence,
                reason,
                extra=named([sequence]),
            )


class PrometheusObserver(Observer):
    """Counts as well.

    Args:
        prefix: of the metrics' names.

    Raises:
        ImportError: prometheus-client is not installed.
    """

    def __init__(self, prefix: str = "weft") -> None:
        from prometheus_client import Counter, Histogram

        self._documents = Counter(f"{prefix}_documents", "Documents committed")
        self._changes = Counter(f"{prefix}_submissions", "Submissions applied")
        self._dead = Counter(f"{prefix}_dead_letters", "Submissions set aside")
        self._tokens = Counter(f"{prefix}_encoded_tokens", "Embeddings made")
        self._encode = Counter(f"{prefix}_encode_seconds", "Time spent encoding")
        self._commit = Counter(f"{prefix}_commit_seconds", "Time spent committing")
        self._lag = Histogram(
            f"{prefix}_lag_seconds", "From submit to searchable", buckets=LAG_SECONDS
        )
        self._batch = Histogram(
            f"{prefix}_batch_documents", "Documents per commit", buckets=BATCH_DOCUMENTS
        )

    def encoded(self, batch: EncodedBatch, seconds: float) -> None:
        """See `Observer.encoded`."""
        super().encoded(batch, seconds)
        self._tokens.inc(batch.n_tokens)
        self._encode.inc(seconds)

    def committed(
        self, commit: Commit, changes: Sequence[Applied], n_documents: int, seconds: float
    ) -> None:
        """See `Observer.committed`."""
        super().committed(commit, changes, n_documents, seconds)
        self._documents.inc(n_documents)
        self._changes.inc(len(changes))
        self._commit.inc(seconds)
        self._batch.observe(n_documents)
        now_seconds = time.time()
        for change in changes:
            self._lag.observe(max(0.0, now_seconds - change.submission.submitted_seconds))

    def buried(self, sequence: int, reasons: Mapping[str, str]) -> None:
        """See `Observer.buried`."""
        super().buried(sequence, reasons)
        self._dead.inc()


def make_observer() -> Observer:
    """One that counts where prometheus-client is installed, and otherwise only logs."""
    try:
        return PrometheusObserver()
    except ImportError:
        return Observer()
