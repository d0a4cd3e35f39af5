"""The state of queue and index as Prometheus gauges, looked up when they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..engine.errors import WeftError
from .overview import Overview, Watcher

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

logger = logging.getLogger(__name__)

GAUGES: Final = {
    "waiting_submissions": ("n_waiting", "Submissions in the inbox, but for those set aside"),
    "waiting_operations": ("n_operations", "Documents and deletions in them"),
    "oldest_waiting_seconds": ("oldest_seconds", "Age of the oldest of them"),
    "encoding_submissions": ("n_encoding", "Submissions in the hands of a living worker"),
    "dead_letters_held": ("n_dead", "Submissions that are set aside now"),
    "halted": ("halted", "1 while they are so many that workers take nothing more"),
    "workers": ("n_workers", "Processes whose leases are renewed"),
    "generation": ("generation", "The newest generation of the index"),
    "segments": ("n_segments", "Segments of the index"),
    "indexed_documents": ("n_documents", "Documents in them, deleted ones until compacted"),
    "drift_ratio": ("drift", "Drift of the newest segment, as a share of the bound"),
    "far_share": ("far_share", "Share of embeddings far from their centroids"),
    "skew": ("skew", "How unevenly the centroids are filled; 1 is even"),
}
"""Name, without its prefix: field of `Overview`, and what it means."""


class Gauges:
    """A collector for a Prometheus registry.

    Args:
        indexes: folders; each is a value of the label "index".
        prefix: of the metrics' names.

    Raises:
        IndexNotFoundError, CorruptIndexError: one of them cannot be read.
    """

    def __init__(self, indexes: Sequence[Path], prefix: str = "weft") -> None:
        self._watchers = {str(path): Watcher(path) for path in indexes}
        self._prefix = prefix

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What can be told of the indexes now; one that cannot be read is left out."""
        from prometheus_client.core import GaugeMetricFamily

        found = self._look()
        for name, (field, meaning) in GAUGES.items():
            family = GaugeMetricFamily(f"{self._prefix}_{name}", meaning, labels=["index"])
            for index, overview in found.items():
                value = getattr(overview, field)
                if value is not None:
                    family.add_metric([index], float(value))
            yield family

    def _look(self) -> dict[str, Overview]:
        found = {}
        for index, watcher in self._watchers.items():
            try:
                found[index] = watcher.look()
            except WeftError as error:
                logger.warning("No gauges for %s: %s", index, error)
        return found
