"""Space on disk that a generation does not need."""

from __future__ import annotations

from .directory import Directory
from .files import own_names
from .layout import SEGMENTS
from .manifest import Manifest


def reclaimable_bytes(directory: Directory, manifest: Manifest) -> int:
    """Bytes of segments that a generation does not name.

    They await collection, are just being written, or were left behind; names and lengths alone
    are read. Codecs and tombstones are small beside them.
    """
    named = {f"{SEGMENTS}/{segment.id}" for segment in manifest.segments}
    folders = [name for name in own_names(directory, SEGMENTS) if name not in named]
    return sum(_size_bytes(directory, folder) for folder in folders)


def _size_bytes(directory: Directory, folder: str) -> int:
    total = 0
    try:
        for name in own_names(directory, folder):
            total += directory.status(name).size_bytes
    except FileNotFoundError:
        # Removed meanwhile: what is gone takes no space.
        return total
    return total
