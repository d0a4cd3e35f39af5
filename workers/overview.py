"""A look at an index's queue from outside: what waits, what was done lately, how long it took."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..engine.errors import StorageError
from ..engine.storage.directory import LocalDirectory
from ..engine.storage.drift import DRIFT_BOUND, drift, mean_of
from ..engine.storage.layout import INBOX
from ..engine.storage.manifest import Manifest
from ..engine.storage.sequences import Applied
from .inbox import Entry, Inbox
from .leases import SUFFIX, is_alive
from .selection import MAX_DEAD
from .watch import ManifestWatch

WINDOW_SECONDS: Final = 60.0
"""What "lately" means."""

LEAST_SECONDS: Final = 0.2
"""Between two looks that a rate is made of."""

MAX_LAGS: Final = 1000
"""Lags that are remembered."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of a queue and its index.

    Args:
        generation: the newest one.
        n_documents: in the index's segments; deleted ones count until they are compacted away.
        n_segments: of the index.
        n_waiting: submissions in the inbox, but for those that were set aside.
        n_operations: documents and deletions in them.
        n_encoding: submissions in the hands of a living worker.
        n_dead: submissions set aside.
        halted: whether they are so many that workers take nothing more.
        n_workers: processes whose leases are renewed.
        oldest_seconds: age of the oldest submission that waits; None if none does.
        changes_per_second: submissions and embedded changes applied since the first look, or
            within a minute; None at the first look.
        lag_seconds: median from submit to searchable, of submissions that a look saw waiting;
            None if there were none.
        drift: how much farther from their centroids the newest segment's embeddings are than
            those that the codec was trained on, as a share of what calls for a remedy; None
            without a codec.
        far_share: share of all compressed embeddings that lie farther from their centroids than
            19 of 20 did in training; None without a codec, or one that recorded it.
        skew: by how much unevenly filled centroids lengthen a visited list, in the mean over
            them; 1 is even.
    """

    generation: int
    n_documents: int
    n_segments: int
    n_waiting: int
    n_operations: int
    n_encoding: int
    n_dead: int
    halted: bool
    n_workers: int
    oldest_seconds: float | None
    changes_per_second: float | None
    lag_seconds: float | None
    drift: float | None
    far_share: float | None
    skew: float | None


class Watcher:
    """Looks at an index's queue; a later look knows what has happened since the first.

    Args:
        index: folder of the index.

    Raises:
        IndexNotFoundError, CorruptIndexError: there is no index, or it cannot be read.
    """

    def __init__(self, index: str | Path) -> None:
        self._directory = LocalDirectory(index)
        self._watch = ManifestWatch(self._directory)
        self._inbox = Inbox(self._directory)
        self._submitted: dict[int, float] = {}
        self._counts: deque[tuple[float, int]] = deque()
        self._lags: deque[float] = deque(maxlen=MAX_LAGS)
        self._watch.newest()

    def look(self) -> Overview:
        """The state now.

        Raises:
            CorruptIndexError, StorageError: it cannot be read.
        """
        manifest = self._watch.newest()
        entries = self._inbox.entries(Applied.of(manifest))
        waiting = [entry for entry in entries if not entry.dead]
        n_operations = self._inbox.n_operations(entries)
        living = self._living()
        self._note(manifest, waiting)
        oldest = min(self._submitted.values(), default=None)
        return Overview(
            generation=manifest.generation,
            n_documents=sum(ref.n_documents for ref in manifest.segments),
            n_segments=len(manifest.segments),
            n_waiting=len(self._inbox.headers(waiting)),
            n_operations=n_operations,
            n_encoding=self._n_encoding(waiting, living),
            n_dead=len(entries) - len(waiting),
            halted=len(entries) - len(waiting) >= MAX_DEAD,
            n_workers=len(living),
            oldest_seconds=None if oldest is None else max(0.0, time.time() - oldest),
            changes_per_second=self._rate(),
            lag_seconds=sorted(self._lags)[len(self._lags) // 2] if self._lags else None,
            drift=_drift(manifest),
            far_share=mean_of(manifest.segments, lambda segment: segment.far_share),
            skew=mean_of(manifest.segments, lambda segment: segment.skew),
        )

    def _note(self, manifest: Manifest, waiting: list[Entry]) -> None:
        """Remember what waits, and take what waits no more for done."""
        applied = Applied.of(manifest)
        for sequence, header in self._inbox.headers(waiting).items():
            self._submitted.setdefault(sequence, header.submitted_seconds)
        now = time.time()
        for sequence in [s for s in self._submitted if s in applied]:
            self._lags.append(max(0.0, now - self._submitted.pop(sequence)))
        self._counts.append((time.monotonic(), _count(applied)))
        while self._counts[0][0] < time.monotonic() - WINDOW_SECONDS:
            self._counts.popleft()

    def _rate(self) -> float | None:
        (first_seconds, first), (last_seconds, last) = self._counts[0], self._counts[-1]
        if last_seconds - first_seconds < LEAST_SECONDS:
            return None
        return (last - first) / (last_seconds - first_seconds)

    def _n_encoding(self, waiting: list[Entry], living: set[str]) -> int:
        tried = [entry for entry in waiting if entry.tries]
        return sum(self._inbox.owner(e.sequence, e.tries) in living for e in tried)

    def _living(self) -> set[str]:
        """Owners of leases that are renewed; on a full disk, by this machine's clock."""
        names = self._directory.list(INBOX)
        owners = [n.removesuffix(SUFFIX) for n in names if n.startswith("worker.")]
        if not owners:
            return set()
        try:
            now_seconds = self._directory.clock_seconds()
        except StorageError:
            now_seconds = time.time()
        return {owner for owner in owners if is_alive(self._directory, owner, now_seconds)}


def _count(applied: Applied) -> int:
    """How many sequences are applied."""
    return applied.floor + sum(last - first + 1 for first, last in applied.above)


def _drift(manifest: Manifest) -> float | None:
    coded = [ref for ref in manifest.segments if ref.centroid_cosine is not None]
    codec = manifest.codec_of(coded[-1]) if coded else None
    return None if codec is None else max(0.0, drift(codec, coded[-1]) / DRIFT_BOUND)
