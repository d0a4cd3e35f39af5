"""A change: staged documents and deletions, resolved against a generation and made its successor.

A commit that loses against another writer is prepared again on what the other left: ids are
looked up again, and each operation applies only if it is younger than what is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .commit import Prepared
from .directory import Directory
from .identifiers import IdQuery
from .layout import new_identifier, tombstone_file
from .manifest import SegmentRef, TombstoneRef
from .operations import DELETE, Operation, Present, born_dead, effective, look_up
from .reader import Snapshot
from .sequences import Applied
from .staging import StagedSegment
from .tombstones import Tombstones, merge_tombstones, mergeable_tail


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit did.

    Args:
        generation: the first one that shows it; the present one if nothing changed.
        added: ids that were not in the index.
        replaced: ids that were, and were replaced.
        deleted: ids that were removed.
        missing: ids to be deleted that were not in the index.
        superseded: ids of queued changes that came too late: what is there is younger. Those of
            changes that had been applied before are not among them.
    """

    generation: int
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    deleted: tuple[str, ...]
    missing: tuple[str, ...]
    superseded: tuple[str, ...] = ()


class Change(ABC):
    """One commit's worth of additions, replacements and deletions.

    Args:
        directory: of the index.
        staged: segments to be added.
        delete: ids to be removed.

    Attributes:
        staged: the segments; one may be replaced by another with the same documents.
        completed: the sequences that are applied once the prepared manifest is published.
        result: what the change did, after `prepare`.
    """

    result: Commit

    def __init__(
        self, directory: Directory, staged: Sequence[StagedSegment], delete: Iterable[str]
    ) -> None:
        self.directory = directory
        self.staged = list(staged)
        self.delete = list(dict.fromkeys(delete))
        self.ids = [id for segment in staged for id in segment.ids]
        self.completed: frozenset[int] = frozenset()
        self._query = IdQuery(list(dict.fromkeys([*self.ids, *self.delete])))

    @abstractmethod
    def operations(self, base: Snapshot, present: Present) -> Mapping[str, Operation] | None:
        """What the change does to each id; None if nothing. Sets `completed`."""

    @abstractmethod
    def described(self, segment: StagedSegment) -> SegmentRef:
        """What the manifest will say of a staged segment."""

    def prepare(self, base: Snapshot) -> Prepared | None:
        """The successor of a generation, or None if this changes nothing; sets `result`.

        Raises:
            DuplicateDocumentError: an id is in the index, and may not be replaced.
            CommitConflictError: too many changes wait for older ones.
        """
        present = look_up(base, self._query)
        asked = self.operations(base, present)
        if asked is None:
            self.result = Commit(base.generation, (), (), (), tuple(self.delete))
            return None
        before = Applied.of(base.manifest)
        done = effective(asked, present)
        after = before.extended(self.completed)
        late = tuple(id for id in asked if id not in done)
        if not done and after == before:
            self.result = Commit(base.generation, (), (), (), (), late)
            return None
        self.result = _describe(base.generation + 1, done, present, late)
        return self._successor(base, done, present, after)

    def _successor(
        self, base: Snapshot, done: Mapping[str, Operation], present: Present, after: Applied
    ) -> Prepared:
        added, born = self._added(done)
        segments = base.manifest.segments + added
        dead = Tombstones(_deletions(done, after.floor), _dead_rows(base, done, present) | born)
        refs, files = add_tombstones(self.directory, base, segments, dead, floor=after.floor)
        highest = max(
            [
                after.highest,
                *(operation.sequence for operation in done.values()),
                *(segment.sequence for segment in added),
            ]
        )
        successor = replace(
            base.manifest,
            generation=base.generation + 1,
            commit_uuid=new_identifier(),
            segments=segments,
            tombstones=refs,
            next_sequence=max(base.manifest.next_sequence, highest + 1),
            applied_floor=after.floor,
            applied_above=after.above,
        )
        return Prepared(successor, files)

    def _added(
        self, done: Mapping[str, Operation]
    ) -> tuple[tuple[SegmentRef, ...], dict[str, np.ndarray[tuple[int], np.dtype[np.uint32]]]]:
        """The new segments that have a row which counts, and the rows of theirs that do not."""
        dead = born_dead(done.values(), [segment.n_documents for segment in self.staged])
        added = [
            (self.described(segment), rows)
            for segment, rows in zip(self.staged, dead, strict=True)
            if len(rows) < segment.n_documents
        ]
        return tuple(ref for ref, _ in added), {ref.id: rows for ref, rows in added if len(rows)}


def _describe(
    generation: int, done: Mapping[str, Operation], present: Present, late: tuple[str, ...]
) -> Commit:
    alive = present.alive
    rows = [id for id, operation in done.items() if operation.segment != DELETE]
    deleted = [id for id, operation in done.items() if operation.segment == DELETE]
    return Commit(
        generation=generation,
        added=tuple(id for id in rows if id not in alive),
        replaced=tuple(id for id in rows if id in alive),
        deleted=tuple(id for id in deleted if id in alive),
        missing=tuple(id for id in deleted if id not in alive),
        superseded=late,
    )


def _deletions(done: Mapping[str, Operation], floor: int) -> dict[str, int]:
    """Deletions that an older change may yet meet."""
    return {
        id: operation.sequence
        for id, operation in done.items()
        if operation.segment == DELETE and operation.sequence > floor
    }


def _dead_rows(
    base: Snapshot, done: Mapping[str, Operation], present: Present
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    """Rows of the generation that are replaced or deleted."""
    dead: dict[str, list[int]] = {}
    for id in done:
        if id in present.alive:
            position, docno = present.alive[id]
            dead.setdefault(base.segments[position].id, []).append(docno)
    return {key: np.unique(np.array(docnos, dtype=np.uint32)) for key, docnos in dead.items()}


def add_tombstones(
    directory: Directory,
    base: Snapshot,
    segments: Sequence[SegmentRef],
    new: Tombstones,
    *,
    rewrite: bool = False,
    floor: int | None = None,
) -> tuple[tuple[TombstoneRef, ...], list[str]]:
    """Write a commit's tombstones, merged with older files where these pile up.

    Args:
        directory: of the index.
        base: the generation that the commit starts from.
        segments: of its successor; rows of others are dropped where files are merged.
        new: what dies with the commit.
        rewrite: merge all files, to be rid of rows of segments that are gone.
        floor: applied by its successor; that of the base if left out.

    Returns:
        The tombstone files of the successor, and the names of those that were written.
    """
    refs = base.manifest.tombstones
    if not new and not (rewrite and refs):
        return refs, []
    counts = [ref.n_rows + ref.n_ids for ref in refs]
    tail = len(refs) if rewrite else mergeable_tail(counts, new.n_rows + len(new.ids))
    kept = len(refs) - tail
    merged = new
    if tail:
        merged = merge_tombstones(
            [*base.tombstones[kept:], new],
            segments={segment.id for segment in segments},
            applied_floor=base.manifest.applied_floor if floor is None else floor,
        )
    if not merged:
        return refs[:kept], []
    ref = merged.write(directory)
    return (*refs[:kept], ref), [tombstone_file(ref.id)]
