"""Prometheus metrics of the service; several processes count into one folder."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

SECONDS: Final = (
    *(0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5),
    *(1, 2, 5, 10, 30, 60, 120),
)

media_type: Final = CONTENT_TYPE_LATEST


def count_across_processes() -> None:
    """Have several processes count together; must be called before any of them counts."""
    os.environ.setdefault(FOLDER, tempfile.mkdtemp(prefix="weft-service-metrics-"))


class Metrics:
    """What one process counts. Labels are routes, never names that clients choose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "weft_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "weft_http_request_seconds",
            "From a request's headers to the end of its answer",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "weft_http_requests_in_progress",
            "Requests being answered",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.search_seconds = Histogram(
            "weft_search_seconds",
            "Engine's time for a search, without encoding",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.encode_batch = Histogram(
            "weft_query_batch",
            "Query texts encoded together",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.documents = Counter(
            "weft_documents_written", "Documents added or replaced", registry=self.registry
        )

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format, of all processes where there are several."""
        if FOLDER not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def close(self) -> None:
        """Take what this process has going out of the sums."""
        if FOLDER in os.environ:
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


@cache
def metrics() -> Metrics:
    """Those of this process."""
    return Metrics()
