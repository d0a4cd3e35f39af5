"""The newest manifest, read again only when there is a newer one; no segment is opened."""

from __future__ import annotations

import threading
from typing import Final

from ..engine.errors import CorruptIndexError, IndexNotFoundError
from ..engine.storage.directory import Directory
from ..engine.storage.generation import newest_generation, read_manifest, require_same_index
from ..engine.storage.layout import manifest_name
from ..engine.storage.manifest import Manifest

MAX_ATTEMPTS: Final = 100
"""Manifests that may be collected under a look at them before it gives up."""


class ManifestWatch:
    """Follows an index by its manifests alone. Safe to share by threads.

    Args:
        directory: of the index.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._known: Manifest | None = None
        self._written_seconds: float | None = None

    def newest(self) -> Manifest:
        """The newest manifest.

        Raises:
            IndexNotFoundError: there is no index.
            CorruptIndexError: the newest manifest is damaged.
            IndexReplacedError: it is that of another index than at the first look.
        """
        with self._lock:
            if self._known is None or self._superseded(self._known.generation):
                newest = self._read()
                if self._known is not None:
                    require_same_index(self._directory, self._known, newest)
                self._known = newest
                self._written_seconds = self._modified_seconds(newest.generation)
            return self._known

    def newest_by_listing(self) -> Manifest:
        """The newest manifest, where a network file system may remember that a name was not there.

        Raises:
            IndexNotFoundError, CorruptIndexError: as `newest`.
        """
        with self._lock:
            self._written_seconds = -1.0
        # Whatever changes a folder makes its file server's clients forget what they know of it.
        self._directory.clock_seconds()
        return self.newest()

    def _superseded(self, generation: int) -> bool:
        # Generations follow each other without a gap, so that one look suffices.
        if self._directory.exists(manifest_name(generation + 1)):
            return True
        return self._modified_seconds(generation) != self._written_seconds

    def _modified_seconds(self, generation: int) -> float | None:
        try:
            return self._directory.status(manifest_name(generation)).modified_seconds
        except FileNotFoundError:
            return None

    def _read(self) -> Manifest:
        for _ in range(MAX_ATTEMPTS):
            generation = newest_generation(self._directory)
            if generation is None:
                raise IndexNotFoundError(
                    f"{self._directory} holds no Weft index: check the path, or make one first."
                )
            try:
                return read_manifest(self._directory, generation)
            except FileNotFoundError:
                continue
        raise CorruptIndexError(f"{self._directory}: no manifest stays long enough to be read.")
