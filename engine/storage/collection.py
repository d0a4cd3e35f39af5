"""Collection: removes generations that nobody reads, and the files that only they named.

Manifests go first, in ascending order, so that a contiguous suffix remains and a writer that
slept notices (its base is gone). Pins are looked at again afterwards: a reader pins before it
makes sure that its manifest is still there, so that one of the two sees the other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from ..errors import CorruptIndexError, IndexNotFoundError
from .directory import NAME, TEMPORARY, Directory
from .files import own_names, remove_file, remove_folder
from .generation import read_manifest
from .layout import (
    CODECS,
    PINS,
    SEGMENTS,
    TOMBSTONES,
    generations,
    manifest_name,
    pinned_generation,
    tombstone_file,
)
from .manifest import Manifest
from .pins import PIN_SECONDS

logger = logging.getLogger(__name__)

SUPERSEDED_SECONDS: Final = 3600.0
"""How long a superseded generation is kept for readers that cannot write pins."""

STAGED_SECONDS: Final = 24 * 3600.0
"""How long files stay that no manifest names and no writer renews."""


@dataclass(slots=True)
class CollectionReport:
    """What was removed.

    Args:
        oldest_generation: the oldest one that is left.
        removed: names of manifests, folders and files, in order.
        freed_bytes: their length.
    """

    oldest_generation: int
    removed: list[str] = field(default_factory=list)
    freed_bytes: int = 0


def collect(
    directory: Directory,
    *,
    superseded_seconds: float = SUPERSEDED_SECONDS,
    staged_seconds: float = STAGED_SECONDS,
    pin_seconds: float = PIN_SECONDS,
) -> CollectionReport:
    """Remove what no reader and no writer needs any more.

    Args:
        directory: of the index.
        superseded_seconds: a generation is kept this long after its successor appeared, for
            readers that cannot write pins; 0 where there are none.
        staged_seconds: files that no manifest names are kept this long after they were last
            renewed, for writers that have staged them.
        pin_seconds: a pin that was not renewed for this long is left behind.

    Raises:
        IndexNotFoundError: there is no index.
        CorruptIndexError: a manifest that is kept cannot be read; nothing more is removed.
        StorageError: the disk refused; what was removed until then is gone.
    """
    return _Collection(directory, superseded_seconds, staged_seconds, pin_seconds).run()


class _Collection:
    """One run, by one reading of the file server's clock."""

    def __init__(
        self,
        directory: Directory,
        superseded_seconds: float,
        staged_seconds: float,
        pin_seconds: float,
    ) -> None:
        self._directory = directory
        self._superseded_seconds = superseded_seconds
        self._staged_seconds = staged_seconds
        self._pin_seconds = pin_seconds
        self._now = directory.clock_seconds()
        self._dead: set[str] = set()

    def run(self) -> CollectionReport:
        present = generations(self._directory)
        if not present:
            raise IndexNotFoundError(f"{self._directory} holds no Weft index: check the path.")
        self._report = CollectionReport(present[0])
        first = self._first_kept(present)
        self._remove_manifests([number for number in present if number < first])
        self._report.oldest_generation = first
        if all(number >= first for number in self._pinned()):
            self._remove_unnamed(first)
        return self._report

    def _age_seconds(self, name: str) -> float:
        """Since a file was last changed; files that vanish meanwhile count as new."""
        try:
            return self._now - self._directory.status(name).changed_seconds
        except FileNotFoundError:
            return 0.0

    def _pinned(self) -> list[int]:
        """The generations of pins that are renewed; others are removed."""
        pinned = []
        for name in own_names(self._directory, PINS):
            number = pinned_generation(name.removeprefix(f"{PINS}/"))
            if self._age_seconds(name) >= self._pin_seconds:
                self._remove(name)
            elif number is not None:
                pinned.append(number)
        return pinned

    def _first_kept(self, present: list[int]) -> int:
        """The oldest generation that is newest, pinned, or superseded for too short a time."""
        limit = min([present[-1], *self._pinned()])
        for number, successor in pairwise(present):
            if number >= limit:
                return number
            if self._age_seconds(manifest_name(successor)) < self._superseded_seconds:
                return number
        return present[-1]

    def _remove_manifests(self, numbers: Iterable[int]) -> None:
        removed = False
        for number in sorted(numbers):
            try:
                self._dead |= _named(read_manifest(self._directory, number))
            except FileNotFoundError:
                continue
            except CorruptIndexError as error:
                logger.warning("Files that only generation %d named stay: %s", number, error)
            self._remove(manifest_name(number))
            removed = True
        if removed:
            self._directory.sync_folder()

    def _remove_unnamed(self, first: int) -> None:
        """Remove what only removed generations named, and what was staged long ago."""
        kept = [number for number in generations(self._directory) if number >= first]
        named: set[str] = set()
        for number in kept:
            try:
                named |= _named(read_manifest(self._directory, number))
            except FileNotFoundError:
                return
        for name in self._candidates():
            if name not in named and (name in self._dead or self._is_left_behind(name)):
                self._remove(name)

    def _candidates(self) -> list[str]:
        folders = (SEGMENTS, CODECS, TOMBSTONES)
        names = [name for folder in folders for name in own_names(self._directory, folder)]
        temporary = [name for name in self._directory.list() if name.startswith(TEMPORARY)]
        return names + [name for name in temporary if NAME.fullmatch(name)]

    def _is_left_behind(self, name: str) -> bool:
        """Whether no file of it was written or renewed for long."""
        ages = [self._age_seconds(name)]
        if name.startswith((SEGMENTS, CODECS)):
            ages += [self._age_seconds(file) for file in own_names(self._directory, name)]
        return min(ages) >= self._staged_seconds

    def _remove(self, name: str) -> None:
        is_folder = name.startswith((f"{SEGMENTS}/", f"{CODECS}/"))
        removed = remove_folder if is_folder else remove_file
        self._report.freed_bytes += removed(self._directory, name)
        if not self._directory.exists(name):
            self._report.removed.append(name)


def _named(manifest: Manifest) -> set[str]:
    """Names of all files and folders that a generation needs."""
    names = {f"{SEGMENTS}/{ref.id}" for ref in manifest.segments}
    names |= {tombstone_file(ref.id) for ref in manifest.tombstones}
    names |= {f"{CODECS}/{ref.id}" for ref in manifest.codecs}
    return names
