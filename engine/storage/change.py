"""A change: staged documents and deletions, resolved against a generation and made its successor.

A commit that loses against another writer is prepared again on what the other left: ids are
looked up again, so that the outcome is that of one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CommitConflictError, DuplicateDocumentError
from .batch import require_distinct
from .commit import Prepared
from .directory import Directory
from .generation import find_alive
from .identifiers import IdQuery
from .layout import new_identifier, tombstone_file
from .manifest import Manifest, SegmentRef, TombstoneRef
from .reader import Snapshot
from .tombstones import Tombstones, merge_tombstones, mergeable_tail


@dataclass(frozen=True, eq=False, slots=True)
class StagedSegment:
    """A segment whose files are durable and which no manifest names yet.

    Args:
        ref: what the manifest will say of it.
        ids: of its documents, by docno.
    """

    ref: SegmentRef
    ids: tuple[str, ...]

    @property
    def id(self) -> str:
        """The segment's folder."""
        return self.ref.id

    @property
    def n_documents(self) -> int:
        """Documents in it."""
        return self.ref.n_documents

    @property
    def n_passages(self) -> int:
        """Passages in it."""
        return self.ref.n_passages

    @property
    def n_tokens(self) -> int:
        """Embeddings in it."""
        return self.ref.n_tokens


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit did.

    Args:
        generation: the first one that shows it; the present one if nothing changed.
        added: ids that were not in the index.
        replaced: ids that were, and were replaced.
        deleted: ids that were removed.
        missing: ids to be deleted that were not in the index.
    """

    generation: int
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    deleted: tuple[str, ...]
    missing: tuple[str, ...]


class Change:
    """One commit's worth of additions, replacements and deletions.

    Args:
        directory: of the index.
        staged: segments to be added.
        delete: ids to be removed; an id that is staged as well is removed and added.
        replace_present: staged ids may be in the index already, and replace what is there.

    Raises:
        DuplicateDocumentError: an id is staged twice.
    """

    result: Commit

    def __init__(
        self,
        directory: Directory,
        staged: Sequence[StagedSegment],
        delete: Sequence[str],
        *,
        replace_present: bool,
    ) -> None:
        self._directory = directory
        self._staged = staged
        self._replace_present = replace_present
        self._delete = list(dict.fromkeys(delete))
        self._added = [id for segment in staged for id in segment.ids]
        require_distinct(self._added)
        self._query = IdQuery(list(dict.fromkeys([*self._added, *self._delete])))

    def prepare(self, base: Snapshot) -> Prepared | None:
        """The successor of a generation, or None if this changes nothing; sets `result`.

        Raises:
            DuplicateDocumentError: an id is in the index, and may not be replaced.
            CommitConflictError: the codec that staged segments were made with is not live.
        """
        self._require_live_codec(base.manifest)
        found = find_alive(base.segments, self._query)
        self._require_absent(found)
        self.result = self._describe(base.generation, found)
        if not self._staged and not found:
            return None
        sequence = base.manifest.next_sequence
        dead = self._tombstones(base, found, sequence)
        refs, files = add_tombstones(self._directory, base, base.manifest.segments, dead)
        added = tuple(replace(segment.ref, sequence=sequence) for segment in self._staged)
        successor = replace(
            base.manifest,
            generation=base.generation + 1,
            commit_uuid=new_identifier(),
            segments=base.manifest.segments + added,
            tombstones=refs,
            next_sequence=sequence + 1,
            applied_floor=sequence,
        )
        self.result = self._describe(successor.generation, found)
        return Prepared(successor, files)

    def _require_live_codec(self, manifest: Manifest) -> None:
        live = None if manifest.codec is None else manifest.codec.id
        for segment in self._staged:
            if segment.ref.codec not in (None, live):
                raise CommitConflictError(
                    f"Segment {segment.id} was compressed with a codec that is no longer live; "
                    "nothing was applied. Add the documents again."
                )

    def _require_absent(self, found: Mapping[str, tuple[int, int]]) -> None:
        if self._replace_present:
            return
        deleted = set(self._delete)
        for id in self._added:
            if id in found and id not in deleted:
                raise DuplicateDocumentError(
                    f"Document id {id!r} is in the index: use upsert to replace it."
                )

    def _describe(self, generation: int, found: Mapping[str, tuple[int, int]]) -> Commit:
        added = set(self._added)
        deleted = [id for id in self._delete if id not in added]
        return Commit(
            generation=generation,
            added=tuple(id for id in self._added if id not in found),
            replaced=tuple(id for id in self._added if id in found),
            deleted=tuple(id for id in deleted if id in found),
            missing=tuple(id for id in deleted if id not in found),
        )

    def _tombstones(
        self, base: Snapshot, found: Mapping[str, tuple[int, int]], sequence: int
    ) -> Tombstones:
        rows: dict[str, list[int]] = {}
        for position, docno in found.values():
            rows.setdefault(base.segments[position].id, []).append(docno)
        return Tombstones(
            ids=dict.fromkeys(self.result.deleted, sequence),
            rows={key: np.unique(np.array(v, dtype=np.uint32)) for key, v in rows.items()},
        )


def add_tombstones(
    directory: Directory,
    base: Snapshot,
    segments: Sequence[SegmentRef],
    new: Tombstones,
    *,
    rewrite: bool = False,
) -> tuple[tuple[TombstoneRef, ...], list[str]]:
    """Write a commit's tombstones, merged with older files where these pile up.

    Args:
        directory: of the index.
        base: the generation that the commit starts from.
        segments: of its successor; rows of others are dropped where files are merged.
        new: what dies with the commit.
        rewrite: merge all files, to be rid of rows of segments that are gone.

    Returns:
        The tombstone files of the successor, and the names of those that were written.
    """
    refs = base.manifest.tombstones
    if not new and not (rewrite and refs):
        return refs, []
    tail = len(refs) if rewrite else mergeable_tail([ref.n_rows for ref in refs], new.n_rows)
    kept = len(refs) - tail
    merged = new
    if tail:
        merged = merge_tombstones(
            [*base.tombstones[kept:], new],
            segments={segment.id for segment in segments},
            applied_floor=base.manifest.applied_floor,
        )
    if not merged:
        return refs[:kept], []
    ref = merged.write(directory)
    return (*refs[:kept], ref), [tombstone_file(ref.id)]
