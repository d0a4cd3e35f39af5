"""The change of a caller that has the index open: it takes its sequence when it commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import repeat

from ..errors import DuplicateDocumentError, InvalidParameterError
from .batch import require_distinct
from .change import Change
from .claims import Claims, Waiting
from .directory import Directory
from .manifest import SegmentRef
from .operations import Operation, Present, last_operations
from .reader import Snapshot
from .sequences import Applied
from .staging import StagedSegment


class EmbeddedChange(Change):
    """Additions, replacements and deletions in the order of their commits.

    It claims its sequence after the documents were staged, so that nothing waits for hours of
    encoding. One claim survives losing against other writers, unless one of them has overtaken it
    on an id of its own: then it claims anew, so that what it reports is what it did.

    Args:
        directory: of the index.
        staged: segments to be added.
        delete: ids to be removed; an id that is staged as well is removed and added.
        replace_present: staged ids may be in the index already, and replace what is there.
        claims: of the writer.

    Raises:
        DuplicateDocumentError: an id is staged twice.
        InvalidParameterError: a segment was staged with sequences of its own.
    """

    def __init__(
        self,
        directory: Directory,
        staged: Sequence[StagedSegment],
        delete: Sequence[str],
        *,
        replace_present: bool,
        claims: Claims,
    ) -> None:
        super().__init__(directory, staged, delete)
        require_distinct(self.ids)
        _require_unordered(staged)
        self._replace_present = replace_present
        self._claims = claims
        self._sequence: int | None = None
        # Listed before a generation is read: what is gone from it, the generation has applied.
        self._waiting = Waiting(directory)

    def operations(self, base: Snapshot, present: Present) -> Mapping[str, Operation] | None:
        """See `Change.operations`."""
        self._require_absent(present)
        if self._sequence is None and self._is_nothing(base, present):
            return None
        sequence = self._sequence = self._claimed(base, present)
        self.completed = frozenset({sequence, *self._claims.abandoned()})
        rows = [(segment.ids, repeat(sequence, segment.n_documents)) for segment in self.staged]
        return last_operations(rows, dict.fromkeys(self.delete, sequence))

    def described(self, segment: StagedSegment) -> SegmentRef:
        """See `Change.described`."""
        return replace(segment.ref, sequence=self._sequence or 0)

    def _require_absent(self, present: Present) -> None:
        if self._replace_present:
            return
        deleted = set(self.delete)
        for id in self.ids:
            if id in present.alive and id not in deleted:
                raise DuplicateDocumentError(
                    f"Document id {id!r} is in the index: use upsert to replace it."
                )

    def _is_nothing(self, base: Snapshot, present: Present) -> bool:
        """Whether nobody could tell afterwards that this change was made.

        A deletion of what is not there can be told by an older change that is still to come.
        """
        if self.staged or present.alive:
            return False
        applied = Applied.of(base.manifest)
        return not self.delete or all(sequence in applied for sequence in self._waiting)

    def _claimed(self, base: Snapshot, present: Present) -> int:
        """A sequence that is ours, not applied, and above all that the change meets."""
        if self._sequence is not None:
            if self._is_good(self._sequence, base, present):
                return self._sequence
            self._claims.abandon(self._sequence)
            self._sequence, self._waiting = None, Waiting(self.directory)
        return self._claims.take(max(base.manifest.next_sequence, self._waiting.next_sequence))

    def _is_good(self, sequence: int, base: Snapshot, present: Present) -> bool:
        overtaken = max(present.sequences.values(), default=0) > sequence
        applied = sequence in Applied.of(base.manifest)
        return not overtaken and not applied and self._claims.is_held(sequence)


def _require_unordered(staged: Sequence[StagedSegment]) -> None:
    for segment in staged:
        if segment.sequences is not None:
            raise InvalidParameterError(
                f"Segment {segment.id} was staged with sequences: use `commit_queued`."
            )
