"""`check`: verifies every byte and the structure of an index, and tells all damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptIndexError, StorageError
from .checking.codecs import check_codec
from .checking.duplicates import Duplicate, duplicates
from .checking.generations import Manifests, Pin, tell_unnamed
from .checking.report import CheckReport, Findings
from .checking.segments import SegmentCheck, words
from .checksums import U32
from .directory import Directory
from .disk_errors import is_media_error
from .layout import codec_file, manifest_name, tombstone_file
from .manifest import CodecRef, Manifest, TombstoneRef
from .reader import as_directory
from .tombstones import Tombstones, alive_documents, read_tombstones

MAX_ATTEMPTS: Final = 20
"""Times that a check begins anew since its generation was collected under it."""

MAX_DUPLICATES: Final = 100
"""Documents alive twice that are told one by one."""

Alive = NDArray[np.bool_] | None


@dataclass(slots=True)
class Inspection:
    """What a check has found, with what a repair needs to know.

    Args:
        report: for the caller.
        manifest: of the generation that was checked.
        manifests: all that are there.
        bad_segments, bad_codecs, bad_tombstones: ids of what is damaged; segments that need a
            damaged codec are among the first.
        superseded: per segment id the docnos that must die, since a younger row of the same
            document is alive elsewhere.
    """

    report: CheckReport
    manifest: Manifest
    manifests: Manifests
    bad_segments: set[str]
    bad_codecs: set[str]
    bad_tombstones: set[str]
    superseded: dict[str, NDArray[np.uint32]]


def check(directory: Directory | str | Path) -> CheckReport:
    """Verify every byte and the structure of the newest generation, and all manifests.

    Only reads, in about the memory that opening the index takes. The index may be written and
    collected meanwhile, since the generation is pinned where pins can be written.

    Args:
        directory: of the index, or its path.

    Raises:
        IndexNotFoundError: there is no index.
        UnsupportedFormatError: a newer Weft wrote it.
        CorruptIndexError: no manifest can be read, so that nothing can be told.
        StorageError: the disk refuses for another reason than a damaged medium.
    """
    return inspect(as_directory(directory)).report


def inspect(directory: Directory) -> Inspection:
    """`check`, with what a repair needs to know."""
    for _ in range(MAX_ATTEMPTS):
        manifests = Manifests(directory)
        pin = Pin(directory, manifests.newest)
        try:
            if not directory.exists(manifest_name(manifests.newest)):
                continue
            found = _Generation(directory, manifests).run()
            # Without a pin what was checked may have been collected, and missing files are none.
            if directory.exists(manifest_name(manifests.newest)):
                return found
        finally:
            pin.close()
    raise StorageError(
        f"{directory}: every generation was collected while it was checked. Check again while "
        "less is written, or where pins can be written."
    )


class _Generation:
    """Checks what one generation names."""

    def __init__(self, directory: Directory, manifests: Manifests) -> None:
        self._directory = directory
        self._manifests = manifests
        self._manifest = manifests.readable[manifests.newest]
        self._findings = Findings()
        self._bad_codecs: set[str] = set()
        self._tombstones: dict[str, Tombstones] = {}
        self._checks: list[SegmentCheck] = []
        self._superseded: dict[str, NDArray[np.uint32]] = {}

    def run(self) -> Inspection:
        self._findings.n_files += len(self._manifests.present)
        self._manifests.tell(self._findings)
        for codec in self._manifest.codecs:
            self._check_codec(codec)
        for tombstones in self._manifest.tombstones:
            self._check_tombstones(tombstones)
        try:
            self._check_segments()
            self._check_duplicates()
            return self._outcome()
        finally:
            for segment in self._checks:
                segment.close()

    def _check_codec(self, ref: CodecRef) -> None:
        name = codec_file(ref.id)
        self._findings.read(ref.file.size_bytes)
        try:
            check_codec(self._directory, ref, self._manifest.dim)
        except (CorruptIndexError, StorageError) as error:
            self._bad_codecs.add(ref.id)
            users = [s for s in self._manifest.segments if ref.reads(s.codec, s.n_centroids)]
            loses = f"the {len(users)} segments that are read with it"
            self._add(name, error, loses)

    def _check_tombstones(self, ref: TombstoneRef) -> None:
        name = tombstone_file(ref.id)
        self._findings.read(ref.file.size_bytes)
        try:
            tombstones = read_tombstones(self._directory, ref)
            self._require_known_rows(tombstones, name)
        except (CorruptIndexError, StorageError) as error:
            loses = f"the deletion or replacement of {ref.n_rows:,} documents"
            self._add(name, error, loses)
        else:
            self._tombstones[ref.id] = tombstones

    def _add(self, name: str, error: CorruptIndexError | StorageError, loses: str) -> None:
        """Note what is wrong with a file; raises where the disk merely refused."""
        unreadable = isinstance(error, StorageError)
        if isinstance(error, StorageError) and not is_media_error(error):
            raise error
        self._findings.add(name, words(error, name), loses, unreadable=unreadable)

    def _require_known_rows(self, tombstones: Tombstones, name: str) -> None:
        """Rows are documents of their segments; rows of segments that are gone may stay."""
        for ref in self._manifest.segments:
            rows = tombstones.rows.get(ref.id)
            if rows is not None and len(rows) and int(rows.max()) >= ref.n_documents:
                raise CorruptIndexError(f"{name}: it names document {int(rows.max())}.")
        if any(n >= self._manifest.next_sequence for n in tombstones.ids.values()):
            raise CorruptIndexError(f"{name}: a sequence is not below the next one.")

    def _check_segments(self) -> None:
        for ref in self._manifest.segments:
            codec = self._manifest.codec_of(ref)
            bits = self._manifest.settings.bits if codec is None else codec.bits
            check = SegmentCheck(
                self._directory, ref, dim=self._manifest.dim, bits=bits, findings=self._findings
            )
            self._checks.append(check)
            if codec is not None and codec.id in self._bad_codecs:
                check.codec_is_lost(codec_file(codec.id))
            check.run()

    def _dead(self, check: SegmentCheck) -> list[U32]:
        return [t.rows[check.ref.id] for t in self._tombstones.values() if check.ref.id in t.rows]

    def _alive(self, check: SegmentCheck) -> Alive:
        """Of a sound segment, whose number of documents is not only what the manifest says."""
        dead = self._dead(check)
        return alive_documents(check.ref.n_documents, dead, check.ref.id) if dead else None

    def _check_duplicates(self) -> None:
        """Deletions that are lost with their file show where a document was replaced."""
        sound = [check for check in self._checks if check.files is not None and not check.damaged]
        tables = [(check.id_table, self._alive(check)) for check in sound]
        dead: dict[str, list[int]] = {}
        for number, duplicate in enumerate(duplicates(tables)):
            for check, docno in _superseded(sound, duplicate):
                dead.setdefault(check.ref.id, []).append(docno)
            if number < MAX_DUPLICATES and not self._lost_tombstones:
                self._tell_duplicate(sound, duplicate)
        self._superseded = {
            id: np.unique(np.array(docnos, dtype=np.uint32)) for id, docnos in dead.items()
        }

    @property
    def _lost_tombstones(self) -> list[TombstoneRef]:
        return [ref for ref in self._manifest.tombstones if ref.id not in self._tombstones]

    def _tell_duplicate(self, sound: Sequence[SegmentCheck], duplicate: Duplicate) -> None:
        ids = dict.fromkeys(sound[place.segment].ref.id for place in duplicate.places)
        segments = ", ".join(ids)
        self._findings.add(
            manifest_name(self._manifest.generation),
            f"document {duplicate.id!r} is alive more than once, in {segments}",
            "nothing; it is found twice",
        )

    def _outcome(self) -> Inspection:
        tell_unnamed(self._directory, self._manifests.readable.values(), self._findings)
        damaged = [check for check in self._checks if check.damaged]
        n_superseded = sum(len(docnos) for docnos in self._superseded.values())
        n_lost_rows = sum(ref.n_rows for ref in self._lost_tombstones)
        report = CheckReport(
            path=str(self._directory),
            generation=self._manifest.generation,
            newest_generation=self._manifests.present[-1],
            damage=tuple(self._findings.damage),
            lost=tuple(check.lost(self._dead(check)) for check in damaged),
            n_may_reappear=max(0, n_lost_rows - n_superseded),
            notes=tuple(self._findings.notes),
            n_files=self._findings.n_files,
            checked_bytes=self._findings.checked_bytes,
        )
        return Inspection(
            report,
            self._manifest,
            self._manifests,
            bad_segments={check.ref.id for check in damaged},
            bad_codecs=self._bad_codecs,
            bad_tombstones={ref.id for ref in self._lost_tombstones},
            superseded=self._superseded,
        )


def _superseded(
    sound: Sequence[SegmentCheck], duplicate: Duplicate
) -> list[tuple[SegmentCheck, int]]:
    """All rows of a document but the youngest: highest sequence, then the later segment."""
    places = sorted(
        duplicate.places, key=lambda p: (sound[p.segment].sequence(p.docno), p.segment, p.docno)
    )
    return [(sound[place.segment], place.docno) for place in places[:-1]]
