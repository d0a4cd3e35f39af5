"""Collection: removes generations that nobody reads, and the files that only they named.

Manifests go first, in ascending order, so that a contiguous suffix remains and a writer that
slept notices (its base is gone). Pins are looked at again afterwards: a reader pins before it
makes sure that its manifest is still there, so that one of the two sees the other.

Files that were staged and never committed are condemned first, and go once there is a newer
generation than any writer can have built on that was about to name them; see `condemning`. How old
they are only tells when to begin with that, so that a clock that steps removes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from ..errors import CorruptIndexError, IndexNotFoundError, StorageError
from .condemning import (
    NO_ROOM,
    condemn_folder,
    condemn_tombstones,
    lift_needless,
    sentenced_folder,
    sentenced_tombstones,
)
from .directory import NAME, TEMPORARY, Directory
from .disk_errors import is_media_error
from .files import own_names, remove_file, remove_folder
from .generation import read_manifest
from .layout import (
    CODECS,
    IDENTIFIER,
    INBOX,
    PINS,
    SEGMENTS,
    TOMBSTONES,
    damaged_generations,
    damaged_name,
    generations,
    is_mark,
    manifest_name,
    pinned_generation,
    submission_sequence,
    tombstone_file,
)
from .manifest import Manifest
from .pins import PIN_SECONDS
from .sequences import Applied

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
            renewed, for writers that have staged them. From then on they are condemned, and the
            next collection after a later commit removes them.
        pin_seconds: a pin that was not renewed for this long is left behind.

    Raises:
        IndexNotFoundError: there is no index.
        CorruptIndexError: the newest manifest is damaged; nothing is removed.
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
        self._now = _clock_seconds(directory)
        self._dead: set[str] = set()

    def run(self) -> CollectionReport:
        present = generations(self._directory)
        if not present:
            raise IndexNotFoundError(f"{self._directory} holds no Weft index: check the path.")
        self._report = CollectionReport(present[0])
        self._require_readable(present[-1])
        first = self._first_kept(present)
        self._remove_manifests([number for number in present if number < first])
        self._remove_aside(first)
        self._report.oldest_generation = first
        self._remove_applied()
        if all(number >= first for number in self._pinned()):
            self._remove_unnamed(first)
        return self._report

    def _require_readable(self, newest: int) -> None:
        """Where the newest manifest is damaged, those before it are what a repair goes by."""
        try:
            read_manifest(self._directory, newest)
        except FileNotFoundError:
            logger.debug("Generation %d was withdrawn.", newest)

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
        numbers = sorted(numbers)
        if numbers:
            # The newest may be one whose writer died before it made the name durable.
            self._directory.sync_folder()
        for number in numbers:
            try:
                self._dead |= _named(read_manifest(self._directory, number))
            except FileNotFoundError:
                continue
            except (CorruptIndexError, StorageError) as error:
                _require_damage(error)
                logger.warning("Files that only generation %d named stay: %s", number, error)
            self._remove(manifest_name(number))
            removed = True
        if removed:
            self._directory.sync_folder()

    def _remove_aside(self, first: int) -> None:
        """Remove the second names of damaged manifests that are gone."""
        for number in damaged_generations(self._directory):
            if number < first:
                self._remove(damaged_name(number))

    def _remove_applied(self) -> None:
        """Remove what lies in the inbox of changes that were applied."""
        manifest = self._newest()
        applied = Applied() if manifest is None else Applied.of(manifest)
        left = [name for name in own_names(self._directory, INBOX) if _belongs_to(name, applied)]
        if left:
            # The manifest that applied them may not be durable yet.
            self._directory.sync_folder()
        for name in left:
            self._remove(name)

    def _newest(self) -> Manifest | None:
        """The newest manifest; None if it was collected just now."""
        try:
            return read_manifest(self._directory, generations(self._directory)[-1])
        except FileNotFoundError:
            return None

    def _remove_unnamed(self, first: int) -> None:
        """Remove what only removed generations named, and what was staged long ago."""
        newest = generations(self._directory)[-1]
        # Read after the newest: what it names can be named no more, if it is not.
        named = self._all_named(first)
        if named is None:
            return
        unnamed = [name for name in self._candidates() if name not in named]
        for name in unnamed:
            if name in self._dead or (_is_temporary(name) and self._is_left_behind(name)):
                self._remove(name)
        sentences = sentenced_tombstones(self._directory)
        # The disk may have been full until now.
        for name in unnamed:
            if name not in self._dead and not _is_temporary(name):
                self._remove_left_behind(name, newest, sentences)
        lift_needless(self._directory, named)

    def _all_named(self, first: int) -> set[str] | None:
        """What the generations from `first` on name; None if that cannot be told."""
        kept = [number for number in generations(self._directory) if number >= first]
        try:
            return {
                name for number in kept for name in _named(read_manifest(self._directory, number))
            }
        except FileNotFoundError:
            # One was collected just now.
            return None
        except (CorruptIndexError, StorageError) as error:
            _require_damage(error)
            logger.warning("All files stay while generation %d is kept: %s", first, error)
            return None

    def _candidates(self) -> list[str]:
        """What Weft has given a name and may have left behind."""
        folders = (SEGMENTS, CODECS, TOMBSTONES)
        names = [name for folder in folders for name in own_names(self._directory, folder)]
        own = [name for name in names if IDENTIFIER.match(name.rpartition("/")[2])]
        temporary = [name for name in self._directory.list() if name.startswith(TEMPORARY)]
        return own + [name for name in temporary if NAME.fullmatch(name)]

    def _is_left_behind(self, name: str, *, itself: bool = True) -> bool:
        """Whether it was not written or renewed for long, and a manifest was since then.

        Args:
            name: of a file or a folder.
            itself: the times of a folder and of marks in it count as well.
        """
        names = [name] if itself or not _is_folder(name) else []
        if _is_folder(name):
            inside = own_names(self._directory, name)
            names += [file for file in inside if itself or not is_mark(file)]
        last_seconds = max(map(self._modified_seconds, names), default=0.0)
        is_old = self._now - last_seconds >= self._staged_seconds
        newest = manifest_name(generations(self._directory)[-1])
        return is_old and self._modified_seconds(newest, 0.0) > last_seconds

    def _modified_seconds(self, name: str, gone: float | None = None) -> float:
        """When a file was written or renewed; those that vanish meanwhile count as new."""
        try:
            return self._directory.status(name).modified_seconds
        except FileNotFoundError:
            return self._now if gone is None else gone

    def _remove_left_behind(self, name: str, newest: int, sentences: Mapping[str, int]) -> None:
        """Condemn what was left behind, or remove what was condemned below the newest generation.

        Args:
            name: of what no manifest named that was read after the newest one.
            newest: generation.
            sentences: on tombstone files.
        """
        sentence = sentences.get(name)
        if _is_folder(name):
            sentence = sentenced_folder(self._directory, name)
        if sentence is not None:
            if sentence < newest:
                # Or else power may take the newest manifest, and leave a writer its name.
                self._directory.sync_folder()
                self._remove(name)
        elif not self._is_left_behind(name):
            return
        elif _is_folder(name):
            condemn_folder(self._directory, name, lambda: self._is_left_behind(name, itself=False))
        else:
            condemn_tombstones(self._directory, name)

    def _remove(self, name: str) -> None:
        removed = remove_folder if _is_folder(name) else remove_file
        self._report.freed_bytes += removed(self._directory, name)
        if not self._directory.exists(name):
            self._report.removed.append(name)


def _clock_seconds(directory: Directory) -> float:
    """Now; on a full disk, where no file can be made to tell, by the time of a folder."""
    try:
        return directory.clock_seconds()
    except StorageError as error:
        if error.errno not in NO_ROOM or not directory.exists(PINS):
            raise
    directory.touch(PINS)
    return directory.status(PINS).changed_seconds


def _require_damage(error: CorruptIndexError | StorageError) -> None:
    """Raise what the disk merely refuses."""
    if isinstance(error, StorageError) and not is_media_error(error):
        raise error


def _is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY)


def _is_folder(name: str) -> bool:
    return name.startswith((f"{SEGMENTS}/", f"{CODECS}/"))


def _belongs_to(name: str, applied: Applied) -> bool:
    """Whether a file of the inbox is one of a change that was applied, or goes with it."""
    found = submission_sequence(name.removeprefix(f"{INBOX}/"))
    return found is not None and found[0] in applied


def _named(manifest: Manifest) -> set[str]:
    """Names of all files and folders that a generation needs."""
    names = {f"{SEGMENTS}/{ref.id}" for ref in manifest.segments}
    names |= {tombstone_file(ref.id) for ref in manifest.tombstones}
    names |= {f"{CODECS}/{ref.id}" for ref in manifest.codecs}
    return names
