"""`repair`: drops what is damaged as one commit, so that the rest can be searched again.

Nothing is mended, since nobody knows what the damaged bytes were: whole segments go, and codecs
with the segments that need them. What the damage has made uncertain is told, never guessed.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..errors import CommitConflictError, CorruptIndexError, StorageError
from .check import Inspection, inspect
from .checking.report import RepairReport
from .commit import Outcome, publish
from .directory import Directory
from .files import discard_file, remove_file
from .generation import newest_generation, read_manifest
from .layout import generations, manifest_name, new_identifier, tombstone_file
from .manifest import Manifest
from .reader import as_directory
from .tombstones import Tombstones

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 128
"""Times that the commit is prepared again after losing against other writers."""


def repair(directory: Directory | str | Path) -> RepairReport:
    """Check an index, and drop what is damaged.

    Damaged segments, and those compressed with a damaged codec, leave the index whole, in one
    commit by the rules of every other: a crash leaves the index as it was or repaired. Their
    files stay until they are collected, so that text may yet be rescued from them. Damaged
    tombstone files leave it too: what they had deleted may be found again, what they had replaced
    is told by the sequences. A damaged newest manifest is succeeded by the newest one that can be
    read; damaged manifests are removed, with those before them.

    Args:
        directory: of the index, or its path. Other writers may be at work.

    Returns:
        What was found and done; nothing is done where nothing is damaged.

    Raises:
        IndexNotFoundError: there is no index.
        UnsupportedFormatError: a newer Weft wrote it.
        CorruptIndexError: no manifest can be read: there is nothing to go by.
        StorageError: the disk refused.
        CommitConflictError, CommitUncertainError: as of any commit.
    """
    place = as_directory(directory)
    found = inspect(place)
    if found.report.ok:
        return RepairReport(found.report, False, found.manifest.generation)
    return _Repair(place, found).run()


class _Repair:
    """One repair of what one inspection has found."""

    def __init__(self, directory: Directory, found: Inspection) -> None:
        self._directory = directory
        self._found = found
        self._dropped: tuple[str, ...] = ()
        self._codecs: tuple[str, ...] = ()

    def run(self) -> RepairReport:
        committed = self._commit()
        removed = self._remove_manifests(committed)
        return RepairReport(
            self._found.report,
            repaired=True,
            generation=committed.generation,
            dropped_segments=self._dropped,
            dropped_codecs=self._codecs,
            removed=removed,
        )

    def _commit(self) -> Manifest:
        """Publish the successor, on what other writers have committed meanwhile."""
        for _ in range(MAX_ATTEMPTS):
            number = newest_generation(self._directory)
            if number is None:
                raise CorruptIndexError(f"{self._directory}: the index vanished during the repair.")
            base = self._base(number)
            successor, files = self._successor(base, number + 1)
            if successor is None:
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

    def _base(self, number: int) -> Manifest:
        """The newest manifest, or the one that was checked if that cannot be read."""
        try:
            return read_manifest(self._directory, number)
        except (CorruptIndexError, FileNotFoundError):
            return self._found.manifest
        except StorageError as error:
            logger.warning("Generation %d cannot be read: %s", number, error)
            return self._found.manifest

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

    def _remove_manifests(self, newest: Manifest) -> tuple[str, ...]:
        """Remove damaged manifests and all before them, as collection does: the oldest first."""
        damaged = [number for number in self._found.manifests.damaged if number < newest.generation]
        last = max(damaged, default=0)
        numbers = [number for number in generations(self._directory) if number <= last]
        for number in numbers:
            remove_file(self._directory, manifest_name(number))
        if numbers:
            self._directory.sync_folder()
        return tuple(manifest_name(number) for number in numbers)
