"""Readers: each snapshot sees exactly one generation, the newest when it was taken."""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Final

from ..closing import Closing
from ..codec import Codec
from ..errors import (
    CorruptIndexError,
    IndexNotFoundError,
    IndexReplacedError,
    SnapshotClosedError,
    WeftError,
)
from .directory import Directory, LocalDirectory
from .forks import tell_after_fork
from .generation import (
    SegmentPool,
    newest_generation,
    read_manifest,
    require_same_index,
)
from .layout import manifest_name
from .manifest import Manifest
from .pins import Renewals, remove_pin, renew, write_pin
from .segment import SegmentView
from .space import reclaimable_bytes
from .tombstones import Tombstones

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 100
"""Generations that may be collected under a reader's eyes before it gives up."""


class Generation:
    """One open generation, counted by its snapshots. Changed under its reader's lock only."""

    def __init__(
        self,
        manifest: Manifest,
        codecs: dict[str, Codec],
        tombstones: list[Tombstones],
        segments: list[SegmentView],
        pin: str | None,
    ) -> None:
        self.manifest = manifest
        self.codecs = codecs
        self.tombstones = tombstones
        self.segments = segments
        self.pin = pin
        self.users = 1
        self.lost = False


class Reader(Closing):
    """Opens an index for reading and follows its newest generation.

    Safe to share by threads. Usable as a context manager.

    Args:
        directory: of the index, or its path.
        mmap: map array files, so that memory is shared and reclaimable; False reads them, for
            file systems whose mappings cannot be trusted.

    Raises:
        IndexNotFoundError: there is no index.
        UnsupportedFormatError: a newer Weft wrote it.
        CorruptIndexError: a file is missing or damaged.
    """

    def __init__(self, directory: Directory | str | Path, *, mmap: bool = True) -> None:
        self.forgotten: deque[Generation] = deque()
        self.directory = as_directory(directory)
        self.lock = threading.RLock()
        self._pool = SegmentPool(self.directory, mmap=mmap)
        self._open: set[Generation] = set()
        self._held_files: set[str] = set()
        self.forked = False
        self._renewals: Renewals | None = None
        self._current: Generation | None = self._load_newest()
        self._watch(self._current.manifest.generation)
        self._start_renewals()
        tell_after_fork(self)

    def snapshot(self) -> Snapshot:
        """The newest generation; close it after use.

        Raises:
            SnapshotClosedError: the reader was closed.
            CorruptIndexError: the newest generation cannot be opened.
        """
        if self.forked:
            self.settle()
        with self.lock:
            self.release_forgotten()
            current = self._refresh()
            current.users += 1
            self._start_renewals()
        return Snapshot(self, current)

    def refresh(self) -> int:
        """Move to the newest generation and return it; `snapshot` does so by itself."""
        if self.forked:
            self.settle()
        with self.lock:
            self.release_forgotten()
            return self._refresh().manifest.generation

    def hold(self, name: str) -> None:
        """Renew a file that no manifest names yet, until `let_go`."""
        with self.lock:
            self._held_files.add(name)

    def let_go(self, name: str) -> None:
        """Stop renewing a file."""
        with self.lock:
            self._held_files.discard(name)

    def close(self) -> None:
        """Let go of the newest generation; open snapshots stay usable."""
        with self.lock:
            self.release_forgotten()
            if self._current is not None:
                self.release(self._current)
                self._current = None
            if not self._open and self._renewals is not None:
                self._renewals.stop()

    def _refresh(self) -> Generation:
        if self._current is None:
            raise SnapshotClosedError("The reader was closed: open the index again.")
        if not self._superseded():
            return self._current
        newest = self._load_newest()
        try:
            require_same_index(self.directory, self._current.manifest, newest.manifest)
        except IndexReplacedError:
            self.release(newest)
            raise
        superseded, self._current = self._current, newest
        self._watch(newest.manifest.generation)
        self.release(superseded)
        return newest

    def _watch(self, generation: int) -> None:
        self._this_name, self._next_name = manifest_name(generation), manifest_name(generation + 1)
        # A link or a pin does not change it.
        self._written_seconds = self.directory.modified_seconds(self._this_name)

    def _superseded(self) -> bool:
        """A next manifest; or not this one, where an unpinned reader slept for long, or where
        another index has taken the place of this one.
        """
        if self.directory.exists(self._next_name):
            return True
        return self.directory.modified_seconds(self._this_name) != self._written_seconds

    def _load_newest(self) -> Generation:
        """Open the newest generation, pinned before it is certain that it is still there."""
        for _ in range(MAX_ATTEMPTS):
            number = newest_generation(self.directory)
            if number is None:
                raise IndexNotFoundError(
                    f"{self.directory} holds no Weft index: check the path, or create one."
                )
            pin = write_pin(self.directory, number)
            try:
                return self._load(number, pin)
            except (CorruptIndexError, FileNotFoundError):
                remove_pin(self.directory, pin)
                if self.directory.exists(manifest_name(number)):
                    raise
            except BaseException:
                remove_pin(self.directory, pin)
                raise
        raise CorruptIndexError("Manifests vanish as soon as they are read: check the index.")

    def _load(self, number: int, pin: str | None) -> Generation:
        manifest = read_manifest(self.directory, number)
        generation = Generation(manifest, *self._pool.open(manifest), pin)
        self._open.add(generation)
        return generation

    def release(self, generation: Generation) -> None:
        """Count a user less; the last one closes the generation."""
        with self.lock:
            generation.users -= 1
            if generation.users:
                return
            self._open.discard(generation)
            self._pool.release(generation.manifest.segments)
            remove_pin(self.directory, generation.pin)

    def release_forgotten(self) -> None:
        """Release the snapshots that nobody closed; the first that is done under the lock."""
        while self.forgotten:
            self.release(self.forgotten.popleft())

    def after_fork(self) -> None:
        """Leave the parent its pins; see `settle` for own ones."""
        self.lock = threading.RLock()
        self._renewals = None
        self._held_files = set()
        self._pool.connections.after_fork()
        self._pool.postings.after_fork()
        for generation in self._open:
            generation.pin = None
        self.forked = True

    def settle(self) -> None:
        """Write own pins in a forked process, once it uses what it has inherited.

        Many processes are forked that never do; pins of theirs would be left behind.
        """
        with self.lock:
            self.release_forgotten()
            if self.forked:
                for generation in list(self._open):
                    self._write_pin(generation)
                self.forked = False
                self._start_renewals()

    def _start_renewals(self) -> None:
        """Start the thread that renews pins, again in a forked process."""
        if self._renewals is None or not self._renewals.running:
            self._renewals = Renewals(self)

    def renew(self) -> bool:
        """Renew all pins and held files; called regularly. False once nothing is open."""
        with self.lock:
            self.release_forgotten()
            if self._current is not None and self._current.users == 1:
                self._follow()
            for generation in list(self._open):
                self._renew_pin(generation)
            for name in list(self._held_files):
                renew(self.directory, name)
            return bool(self._open)

    def _follow(self) -> None:
        """Move an idle reader on, so that it pins nothing old; an error waits for `snapshot`."""
        try:
            self._refresh()
        except (WeftError, FileNotFoundError) as error:
            logger.warning("An idle reader could not be refreshed: %s", error)

    def _renew_pin(self, generation: Generation) -> None:
        if generation.pin is None or renew(self.directory, generation.pin):
            return
        self._write_pin(generation)

    def _write_pin(self, generation: Generation) -> None:
        """Pin an open generation anew; it may have been collected meanwhile.

        What is lost is not pinned: nothing could be removed any more while it is held.
        """
        if generation.lost:
            return
        number = generation.manifest.generation
        generation.pin = write_pin(self.directory, number)
        if not self.directory.exists(manifest_name(number)):
            generation.lost = True
            remove_pin(self.directory, generation.pin)
            generation.pin = None

    def __del__(self) -> None:
        # Nobody has the reader any more, so that nobody holds the lock.
        self.release_forgotten()


class Snapshot(Closing):
    """One generation of an index, unchanged until it is closed.

    Usable as a context manager. Each attribute raises `SnapshotClosedError` once the snapshot
    was closed, or once its pin had expired and its files may be gone.
    """

    def __init__(self, reader: Reader, generation: Generation) -> None:
        self._reader = reader
        self._generation: Generation | None = generation

    def _opened(self) -> Generation:
        generation = self._generation
        if generation is None:
            raise SnapshotClosedError("The snapshot was closed: take a new one.")
        if self._reader.forked:
            self._reader.settle()
        if generation.lost:
            raise SnapshotClosedError(
                f"Generation {generation.manifest.generation} was collected, since its pin had "
                "not been renewed in time: take a new snapshot."
            )
        return generation

    @property
    def manifest(self) -> Manifest:
        """The manifest of the generation."""
        return self._opened().manifest

    @property
    def generation(self) -> int:
        """The number of the generation."""
        return self.manifest.generation

    @property
    def codec(self) -> Codec | None:
        """The live codec; None while all segments are flat."""
        live = self.manifest.codec
        return None if live is None else self.codecs[live.id]

    @property
    def codecs(self) -> dict[str, Codec]:
        """The codecs by id: the live one, and that of the epoch before while it has segments."""
        return self._opened().codecs

    @property
    def segments(self) -> list[SegmentView]:
        """The segments in the order in which they were added."""
        return self._opened().segments

    @property
    def tombstones(self) -> list[Tombstones]:
        """The content of the tombstone files, oldest first."""
        return self._opened().tombstones

    @property
    def n_documents(self) -> int:
        """Documents that are alive."""
        return sum(segment.n_alive_documents for segment in self.segments)

    @property
    def n_passages(self) -> int:
        """Passages that are alive."""
        return sum(segment.n_alive_passages for segment in self.segments)

    @property
    def n_tokens(self) -> int:
        """Embeddings of passages that are alive."""
        return sum(segment.n_alive_tokens for segment in self.segments)

    def sizes(self) -> dict[str, int]:
        """Bytes on disk by part: of all segments together, codec, tombstones and manifest."""
        manifest = self.manifest
        total: dict[str, int] = {}
        for segment in self.segments:
            for part, size_bytes in segment.sizes().items():
                total[part] = total.get(part, 0) + size_bytes
        if manifest.codecs:
            total["codec"] = sum(codec.file.size_bytes for codec in manifest.codecs)
        total["tombstones"] = sum(ref.file.size_bytes for ref in manifest.tombstones)
        total["manifest"] = len(manifest.encode())
        return total

    def reclaimable_bytes(self) -> int:
        """Bytes of segments on disk that this generation does not name."""
        return reclaimable_bytes(self._reader.directory, self.manifest)

    def close(self) -> None:
        """Let go of the generation; nothing happens the second time."""
        with self._reader.lock:
            self._reader.release_forgotten()
            generation, self._generation = self._generation, None
            if generation is not None:
                self._reader.release(generation)

    def __del__(self) -> None:
        # The garbage collector comes at any moment, also to a thread in the midst of a change
        # under the lock, which may be taken twice. So the generation is only put aside.
        generation, self._generation = self._generation, None
        if generation is not None:
            self._reader.forgotten.append(generation)


def as_directory(directory: Directory | str | Path) -> Directory:
    """A directory object for a path; one that is an object already is returned."""
    return directory if isinstance(directory, Directory) else LocalDirectory(directory)
