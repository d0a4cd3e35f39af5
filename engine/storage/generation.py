"""Open generations: manifest, codec and segments, whose files they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..codec import Codec
from ..errors import CorruptIndexError, IndexReplacedError, UnsupportedFormatError
from .codec_store import read_codec
from .connections import Connections
from .directory import Directory
from .fulltext import PostingsCache
from .identifiers import IdQuery
from .layout import generations, manifest_name, tombstone_file
from .manifest import MAX_MANIFEST_BYTES, Manifest, SegmentRef, TombstoneRef
from .manifest_decoding import decode_manifest, is_as_written
from .segment import SegmentView
from .segment_files import SegmentFiles
from .tombstones import Tombstones, alive_documents, read_tombstones

MAX_ATTEMPTS: Final = 20
"""Newest manifests that may be collected under a look at them before it gives up."""

START_BYTES: Final = 256
"""Of a manifest, with the ids of its commit and its index."""

LONGEST_BYTES: Final = 4 * MAX_MANIFEST_BYTES
"""Longest manifest whose checksum is looked at, to tell one of a newer Weft from damage."""


def read_manifest(directory: Directory, generation: int) -> Manifest:
    """Read one manifest.

    Raises:
        FileNotFoundError: it is not there, or not any more.
        CorruptIndexError: it is damaged, or of another generation.
        UnsupportedFormatError: a newer Weft wrote it, perhaps a longer one than this reads.
    """
    name = manifest_name(generation)
    data = directory.read(name, 0, LONGEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        if len(data) <= LONGEST_BYTES and is_as_written(data):
            # No damage: a repair must not go past it.
            raise UnsupportedFormatError(
                f"{name} has {len(data):,} bytes, and this Weft reads {MAX_MANIFEST_BYTES:,}: use "
                "a newer one."
            )
        raise CorruptIndexError(f"{name} is longer than {MAX_MANIFEST_BYTES} bytes.")
    manifest = decode_manifest(data, name)
    if manifest.generation != generation:
        raise CorruptIndexError(f"{name} holds generation {manifest.generation}.")
    return manifest


def newest_generation(directory: Directory) -> int | None:
    """The highest generation whose manifest is there."""
    found = generations(directory)
    return found[-1] if found else None


def is_there(directory: Directory, manifest: Manifest) -> bool:
    """Whether a manifest stands under its name, and not one of an index that took its place."""
    name = manifest_name(manifest.generation)
    try:
        # The commit's id is among the first fields: the rest need not be read to find it.
        if manifest.commit_uuid.encode() in directory.read(name, 0, START_BYTES):
            return True
        return read_manifest(directory, manifest.generation).commit_uuid == manifest.commit_uuid
    except FileNotFoundError:
        return False


def require_same_index(directory: Directory, before: Manifest, now: Manifest) -> None:
    """Raise `IndexReplacedError` if a manifest is not a later one of the same index."""
    same_generation = now.generation == before.generation
    if now.index_uuid != before.index_uuid or (
        same_generation and now.commit_uuid != before.commit_uuid
    ):
        raise IndexReplacedError(
            f"{directory} holds another index than when it was opened: it was made anew, or put "
            "back from a copy. Open it again."
        )


def newest_names(directory: Directory, segment_id: str) -> bool:
    """Whether the newest generation names a segment; so it counts where none can be read."""
    for _ in range(MAX_ATTEMPTS):
        newest = newest_generation(directory)
        if newest is None:
            return True
        try:
            manifest = read_manifest(directory, newest)
        except FileNotFoundError:
            continue
        except CorruptIndexError:
            return True
        return any(ref.id == segment_id for ref in manifest.segments)
    return True


@dataclass(slots=True)
class _Shared:
    """Open files of a segment and how many generations use them."""

    files: SegmentFiles
    users: int


class SegmentPool:
    """Opens what generations name, once for all of them. Used under its reader's lock.

    Args:
        directory: of the index.
        mmap: map arrays; False reads them.
    """

    def __init__(self, directory: Directory, *, mmap: bool) -> None:
        self._directory = directory
        self._mmap = mmap
        self.connections = Connections()
        self.postings = PostingsCache()
        self._segments: dict[str, _Shared] = {}
        self._codecs: dict[str, Codec] = {}
        self._tombstones: dict[str, Tombstones] = {}
        self._alive: dict[str, tuple[tuple[str, ...], NDArray[np.bool_]]] = {}

    def open(
        self, manifest: Manifest
    ) -> tuple[dict[str, Codec], list[Tombstones], list[SegmentView]]:
        """Open a generation; `release` must follow for its segments.

        Raises:
            CorruptIndexError: a file is missing or damaged.
        """
        codecs = self._open_codecs(manifest)
        tombstones = self._open_tombstones(manifest.tombstones)
        opened: list[SegmentRef] = []
        views = []
        try:
            for ref in manifest.segments:
                files = self._acquire(ref, manifest)
                opened.append(ref)
                alive = self._alive_documents(ref, manifest.tombstones, tombstones)
                read_with = manifest.codec_of(ref)
                views.append(
                    SegmentView(files, alive, None if read_with is None else codecs[read_with.id])
                )
        except BaseException:
            self.release(opened)
            raise
        return codecs, tombstones, views

    def release(self, refs: Sequence[SegmentRef]) -> None:
        """Let go of segments; those that no generation uses are closed."""
        for ref in refs:
            shared = self._segments[ref.id]
            shared.users -= 1
            if shared.users == 0:
                del self._segments[ref.id]
                self._alive.pop(ref.id, None)
                shared.files.close()

    def _acquire(self, ref: SegmentRef, manifest: Manifest) -> SegmentFiles:
        shared = self._segments.get(ref.id)
        if shared is None:
            read_with = manifest.codec_of(ref)
            files = SegmentFiles(
                self._directory,
                ref,
                dim=manifest.dim,
                bits=manifest.settings.bits if read_with is None else read_with.bits,
                mmap=self._mmap,
                connections=self.connections,
                postings=self.postings,
                is_named=partial(newest_names, self._directory, ref.id),
            )
            shared = self._segments[ref.id] = _Shared(files, 0)
        shared.users += 1
        return shared.files

    def _open_codecs(self, manifest: Manifest) -> dict[str, Codec]:
        """The codecs of a generation by id; those of the one before are not read again."""
        known = self._codecs
        self._codecs = {
            ref.id: known[ref.id]
            if ref.id in known
            else read_codec(self._directory, ref, manifest.dim)
            for ref in manifest.codecs
        }
        return self._codecs

    def _open_tombstones(self, refs: Sequence[TombstoneRef]) -> list[Tombstones]:
        known = self._tombstones
        self._tombstones = {
            ref.id: known[ref.id] if ref.id in known else read_tombstones(self._directory, ref)
            for ref in refs
        }
        return [self._tombstones[ref.id] for ref in refs]

    def _alive_documents(
        self, ref: SegmentRef, refs: Sequence[TombstoneRef], tombstones: Sequence[Tombstones]
    ) -> NDArray[np.bool_] | None:
        """The bitmap of a segment, taken over from the generation before where nothing died."""
        touching = [(t.id, part) for t, part in zip(refs, tombstones, strict=True)
                    if ref.id in part.rows]  # fmt: skip
        if not touching:
            return None
        key = tuple(id for id, _ in touching)
        if ref.id not in self._alive or self._alive[ref.id][0] != key:
            dead = [part.rows[ref.id] for _, part in touching]
            alive = alive_documents(ref.n_documents, dead, tombstone_file(key[-1]))
            self._alive[ref.id] = (key, alive)
        return self._alive[ref.id][1]


def find_alive(segments: Sequence[SegmentView], query: IdQuery) -> dict[str, tuple[int, int]]:
    """Where the ids live: id -> (position of the segment, docno)."""
    found: dict[str, tuple[int, int]] = {}
    for position, segment in enumerate(segments):
        for id, docno in segment.passages.docnos(query).items():
            if segment.is_alive(docno):
                found[id] = (position, docno)
    return found
