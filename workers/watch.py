"""The newest manifest, read again only when there is a newer one; no segment is opened."""

from __future__ import annotations

import threading
from typing import Final

from ..engine.errors import CorruptIndexError, IndexNotFoundError
from ..engine.storage.directory import Directory
from ..engine.storage.generation import newest_generation, read_manifest
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

    def newest(self) -> Manifest:
        """The newest manifest.

        Raises:
            IndexNotFoundError: there is no index.
            CorruptIndexError: the newest manifest is damaged.
        """
        with self._lock:
            if self._known is None or self._superseded(self._known.generation):
                self._known = self._read()
            return self._known

    def _superseded(self, generation: int) -> bool:
        # Generations follow each other without a gap, so that one look suffices.
        return self._directory.exists(manifest_name(generation + 1)) or not self._directory.exists(
            manifest_name(generation)
        )

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
