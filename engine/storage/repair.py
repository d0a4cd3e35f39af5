"""`repair`: drops what is damaged as one commit, so that the rest can be searched again.

Nothing is mended, since nobody knows what the damaged bytes were: whole segments go, and codecs
with the segments that need them. What the damage has made uncertain is told, never guessed.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..errors import CommitConflictError, CorruptIndexError, StorageError
from .check import Inspection, inspect
from .checking.blocks import stays_unreadable
from .checking.report import Damage, RepairReport
from .commit import Outcome, publish
from .directory import Directory
from .disk_errors import is_media_error
from .files import discard_file
from .generation import newest_generation, read_manifest
from .layout import damaged_name, generations, manifest_name, new_identifier, tombstone_file
from .manifest import Manifest
from .reader import as_directory
from .tombstones import Tombstones

MAX_ATTEMPTS: Final = 128
"""Times that the commit is prepared again after losing against other writers."""

MAX_INSPECTIONS: Final = 4
"""Times that an index is checked while others commit; then what was found is dropped as it is."""


def repair(directory: Directory | str | Path) -> RepairReport:
    """Check an index, and drop what is damaged.

    Damaged segments, and those compressed with a damaged codec, leave the index whole, in one
    commit by the rules of every other: a crash leaves the index as it was or repaired. Their
    files stay until they are collected, so that text may yet be rescued from them. Damaged
    tombstone files leave it too: what they had deleted may be found again, what they had replaced
    is told by the sequences. A damaged newest manifest is succeeded by the newest one that can be
    read. No manifest is removed: damaged ones get a second name, by which a check tells that they
    are dealt with, and are collected like all that are superseded. Until then they keep what
    readers without pins read, and the name that a writer may be about to give.

    What the disk merely failed to read is read again right before it is dropped, since such
    failures may pass. A newest manifest that cannot be read is never gone past, because what was
    committed with it was acknowledged and may be whole.

    Where others have committed since the check, the index is checked again, since a writer that
    had it open before may have replaced what was lost. Where they are quicker each time, what was
    found is dropped from what they have left, and damage to that is for the next check to tell.

    Args:
        directory: of the index, or its path. Other writers may be at work.

    Returns:
        What was found and done; nothing is done where nothing is damaged.

    Raises:
        IndexNotFoundError: there is no index.
        UnsupportedFormatError: a newer Weft wrote it.
        CorruptIndexError: no manifest can be read: there is nothing to go by.
        StorageError: the disk refused, fails to read the newest manifest, or fails now and then.
        CommitConflictError, CommitUncertainError: as of any commit.
    """
    place = as_directory(directory)
    for n_left in reversed(range(MAX_INSPECTIONS)):
        found = inspect(place)
        if found.report.ok:
            break
        repaired = _Repair(place, found, may_inspect_again=n_left > 0).run()
        if repaired is not None:
            return repaired
    return RepairReport(found.report, False, found.manifest.generation)


class _Repair:
    """One repair of what one inspection has found.

    Args:
        directory: of the index.
        found: by the inspection.
        may_inspect_again: give up where another generation was committed since then.
    """

    def __init__(self, directory: Directory, found: Inspection, *, may_inspect_again: bool) -> None:
        self._directory = directory
        self._found = found
        self._may_inspect_again = may_inspect_again
        self._dropped: tuple[str, ...] = ()
        self._codecs: tuple[str, ...] = ()

    def run(self) -> RepairReport | None:
        """Commit the repair; None if the index should be inspected again, and nothing was done."""
        if self._has_passed():
            return None
        committed = self._commit()
        if committed is None:
            return None
        return RepairReport(
            self._found.report,
            repaired=True,
            generation=committed.generation,
            dropped_segments=self._dropped,
            dropped_codecs=self._codecs,
            aside=self._set_aside(committed),
        )

    def _commit(self) -> Manifest | None:
        """Publish the successor of the newest generation; None if it is not the one inspected."""
        for _ in range(MAX_ATTEMPTS):
            number = newest_generation(self._directory)
            if number is None:
                raise CorruptIndexError(f"{self._directory}: the index vanished during the repair.")
            base = self._base(number)
            if base is None:
                continue
            if self._may_inspect_again and base.generation != self._found.manifest.generation:
                return None
            successor, files = self._successor(base, number + 1)
            if successor is None:
                # Another writer's, who may have died before it made the name durable.
                self._directory.sync_folder()
                return base
            outcome = Outcome()
            try:
                if publish(self._directory, base, successor, outcome):
                    return successor
            finally:
                if not outcome.may_be_published:
                    for name in files:
                        discard_file(self._directory, name)
        raise CommitConflictError(
            f"Other writers won {MAX_ATTEMPTS} times in a row; nothing was repaired. Try again."
        )

    def _base(self, number: int) -> Manifest | None:
        """The newest manifest, or the one that was checked if all above it are damaged.

        What cannot be read just now is not damage: a successor of an older generation would take
        away what was acknowledged.

        Returns:
            None if the newest was collected just now, since there is a newer one.
        """
        lowest = self._found.manifest.generation
        present = [n for n in generations(self._directory) if lowest <= n <= number]
        for candidate in reversed(present):
            try:
                return read_manifest(self._directory, candidate)
            except FileNotFoundError:
                if candidate == number:
                    return None
            except CorruptIndexError:
                if candidate not in self._found.manifests.damaged:
                    raise
            except StorageError as error:
                if not is_media_error(error):
                    raise
                raise _unreadable(error, candidate) from error
        return self._found.manifest

    def _has_passed(self) -> bool:
        """Whether something can be read again that the disk had failed to read.

        Raises:
            StorageError: the index will not be checked again, and what there is to drop is not
                known for certain.
        """
        places: dict[str, list[Damage]] = defaultdict(list)
        for damage in self._found.report.damage:
            if not damage.file.startswith("manifest."):
                places[damage.segment or damage.file].append(damage)
        for found in places.values():
            if all(damage.unreadable for damage in found) and not self._stays(found):
                if self._may_inspect_again:
                    return True
                raise StorageError(
                    errno.EIO,
                    "the disk fails to read it now and then; nothing was repaired. Copy the index "
                    "to another disk, then repair the copy",
                    found[0].file,
                )
        return False

    def _stays(self, places: list[Damage]) -> bool:
        """Whether one of the places of a segment, or of another file, cannot be read still."""
        return any(
            stays_unreadable(self._directory, place.file, place.offset or 0, place.size_bytes)
            for place in places
        )

    def _successor(self, base: Manifest, generation: int) -> tuple[Manifest | None, list[str]]:
        """The repaired manifest and the files written for it; None if the base needs no change."""
        found = self._found
        kept = tuple(ref for ref in base.segments if ref.id not in found.bad_segments)
        codecs = tuple(ref for ref in base.codecs if ref.id not in found.bad_codecs)
        # Another writer may have added segments of a codec that is lost.
        read = replace(base, codecs=codecs)
        kept = tuple(ref for ref in kept if ref.codec is None or read.codec_of(ref) is not None)
        tombstones = tuple(ref for ref in base.tombstones if ref.id not in found.bad_tombstones)
        rows = {ref.id: found.superseded[ref.id] for ref in kept if ref.id in found.superseded}
        changed = (kept, codecs, tombstones) != (base.segments, base.codecs, base.tombstones)
        if not (changed or rows or base.generation + 1 < generation):
            return None, []
        self._dropped = tuple(ref.id for ref in base.segments if ref not in kept)
        self._codecs = tuple(ref.id for ref in base.codecs if ref not in codecs)
        files: list[str] = []
        if rows:
            written = Tombstones(rows=rows).write(self._directory)
            tombstones, files = (*tombstones, written), [tombstone_file(written.id)]
        successor = replace(
            base,
            generation=generation,
            commit_uuid=new_identifier(),
            codecs=codecs,
            segments=kept,
            tombstones=tombstones,
        )
        return successor, files

    def _set_aside(self, newest: Manifest) -> tuple[str, ...]:
        """Give damaged manifests of older generations their second names."""
        damaged = [number for number in self._found.manifests.damaged if number < newest.generation]
        aside = [manifest_name(number) for number in sorted(damaged) if self._mark(number)]
        if aside:
            self._directory.sync_folder()
        return tuple(aside)

    def _mark(self, number: int) -> bool:
        """Give a manifest its second name; False where it is sound, collected or named already."""
        try:
            read_manifest(self._directory, number)
        except FileNotFoundError:
            return False
        except (CorruptIndexError, StorageError) as error:
            if isinstance(error, StorageError) and not is_media_error(error):
                raise
        else:
            return False
        try:
            # A link needs no room, and keeps the content for whoever wants to rescue from it.
            self._directory.publish(manifest_name(number), damaged_name(number))
        except (FileExistsError, FileNotFoundError):
            return False
        return True


def _unreadable(error: StorageError, generation: int) -> StorageError:
    """What is told of a manifest that nothing may be built past."""
    return StorageError(
        error.errno,
        f"the disk fails to read it ({error.strerror}), and what was committed with it may be "
        "whole: nothing was repaired. Try again. If it stays so, copy the index to another disk: "
        f"without this file the copy is the index as it was before generation {generation}",
        manifest_name(generation),
    )
