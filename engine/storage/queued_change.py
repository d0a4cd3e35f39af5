"""The change of a caller that applies changes which others have put in order before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..errors import CommitConflictError, InvalidParameterError
from .change import Change
from .directory import Directory
from .manifest import SegmentRef
from .operations import Operation, Present, last_operations
from .reader import Snapshot
from .sequences import MAX_SEQUENCE, Applied
from .staging import StagedSegment


class QueuedChange(Change):
    """Rows and deletions with sequences of their own, in whatever order they arrive.

    What came too late, or has been applied already, is left out.

    Args:
        directory: of the index.
        staged: segments staged with sequences.
        delete: id -> sequence of the deletion.
        completed: sequences of which nothing is left to be done after this change.
        waiting: sequences that must not have been applied by others.

    Raises:
        InvalidParameterError: a segment without sequences, or a sequence out of range.
    """

    def __init__(
        self,
        directory: Directory,
        staged: Sequence[StagedSegment],
        delete: Mapping[str, int],
        completed: Collection[int],
        waiting: Collection[int] = (),
    ) -> None:
        super().__init__(directory, staged, delete)
        for sequence in (*delete.values(), *completed):
            require_sequence(sequence)
        self._rows = [(segment.ids, _sequences(segment)) for segment in staged]
        self._deletions = dict(delete)
        self._sequences = {*delete.values()}.union(*(numbers for _, numbers in self._rows))
        self.completed = frozenset(completed)
        self._waiting = frozenset(waiting)

    def operations(self, base: Snapshot, present: Present) -> Mapping[str, Operation]:
        """See `Change.operations`.

        Raises:
            DuplicateDocumentError: an id has two rows of the same sequence.
            CommitConflictError: what was to wait has been applied by others.
        """
        before = Applied.of(base.manifest)
        if any(sequence in before for sequence in self._waiting):
            raise CommitConflictError(
                "Others have applied a change of this batch meanwhile, for which older ones were "
                "left out; nothing was applied. Choose again."
            )
        applied = {sequence for sequence in self._sequences if sequence in before}
        return last_operations(self._rows, self._deletions, applied)

    def described(self, segment: StagedSegment) -> SegmentRef:
        """See `Change.described`."""
        return segment.ref


def _sequences(segment: StagedSegment) -> list[int]:
    if segment.sequences is None:
        raise InvalidParameterError(
            f"Segment {segment.id} was staged without sequences: stage it with them, or use "
            "`commit`."
        )
    found: list[int] = segment.sequences.tolist()
    return found


def require_sequence(sequence: int) -> None:
    """Raise `InvalidParameterError` for a number that is no sequence."""
    if type(sequence) is not int or not 1 <= sequence <= MAX_SEQUENCE:
        raise InvalidParameterError(
            f"Sequence {sequence!r} is none: use whole numbers from 1 to {MAX_SEQUENCE}."
        )
