"""Claims: empty files in the inbox, by which embedded changes take their place in the order.

The name of a change is its sequence, whoever makes it: a queued change has its content in the
file, an embedded one only claims the name and commits its content itself. A claim is not
fsynced: nothing was acknowledged under it, and if the power takes it, so it does its owner.

A claim is never withdrawn before its sequence was applied. Somebody may be about to apply it as
an empty change, because its lease was over; a queued change that took the name meanwhile would
be taken for applied. So a change that fails leaves its claim to the next commit of its writer, or
to the sweep.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from ..errors import StorageError
from .directory import Directory
from .files import discard_file
from .layout import INBOX, submission_name, submission_sequence
from .pins import renew
from .reader import Reader
from .sequences import MAX_SEQUENCE


class Waiting:
    """Sequences whose claim or content lies in the inbox, ascending; applied ones may be left.

    The inbox is listed once. It may hold a long queue, so only those entries are looked at that
    are asked for.
    """

    def __init__(self, directory: Directory) -> None:
        self._names = directory.list(INBOX)

    def __iter__(self) -> Iterator[int]:
        return _sequences(self._names)

    @property
    def next_sequence(self) -> int:
        """Above all of them."""
        return next(_sequences(reversed(self._names)), 0) + 1

    def between(self, first: int, last: int) -> list[int]:
        """Those from `first` to `last`."""
        start = bisect_left(self._names, f"{first:016d}")
        end = bisect_right(self._names, f"{last:016d}")
        return list(_sequences(self._names[start:end]))


def _sequences(names: Iterable[str]) -> Iterator[int]:
    for name in names:
        found = submission_sequence(name)
        # A number beyond the highest is no sequence: nobody may continue from it.
        if found is not None and found[1] and 0 < found[0] <= MAX_SEQUENCE:
            yield found[0]


def take_sequence(lowest: int, place: Callable[[str], None]) -> int:
    """Take the first free sequence.

    Args:
        lowest: above every sequence that was given away before.
        place: makes the file of that name; raises `FileExistsError` if it is there.

    Raises:
        StorageError: the disk refused, or there are no more sequences.
    """
    for sequence in range(lowest, MAX_SEQUENCE + 1):
        try:
            place(submission_name(sequence))
        except FileExistsError:
            continue
        return sequence
    raise StorageError("There are no more sequences: remove foreign files from the inbox.")


def claim(directory: Directory, name: str) -> None:
    """Make an empty file in the inbox, which stays even if an interrupt ends this.

    Raises:
        FileExistsError: the sequence is taken.
    """
    with directory.create(name, durable=False):
        pass


def claim_age_seconds(directory: Directory, sequence: int, now_seconds: float) -> float | None:
    """How long ago a claim was made or renewed; None if there is none, or a queued change."""
    try:
        status = directory.status(submission_name(sequence))
    except FileNotFoundError:
        return None
    return None if status.size_bytes else now_seconds - status.changed_seconds


class Claims:
    """The claims of one writer; used under its lock.

    Args:
        reader: renews them while they are in use.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._directory = reader.directory
        self._taken: set[int] = set()
        self._abandoned: set[int] = set()

    def take(self, lowest: int) -> int:
        """Claim the first free sequence from `lowest` on, and renew it from now on."""
        sequence = take_sequence(lowest, partial(claim, self._directory))
        # In this order, so that an interrupt leaves no claim that is renewed and never abandoned.
        self._taken.add(sequence)
        self._reader.hold(submission_name(sequence))
        return sequence

    def is_held(self, sequence: int) -> bool:
        """Whether a claim is still there and ours; it is renewed by the way."""
        if not renew(self._directory, submission_name(sequence)):
            return False
        return claim_age_seconds(self._directory, sequence, 0.0) is not None

    def abandon(self, sequence: int) -> None:
        """Leave a claim to the next commit, or to the sweep once its lease is over."""
        self._reader.let_go(submission_name(sequence))
        self._taken.discard(sequence)
        self._abandoned.add(sequence)

    def abandon_all(self) -> None:
        """Abandon what was taken for a change that has failed."""
        for sequence in list(self._taken):
            self.abandon(sequence)

    def abandoned(self) -> frozenset[int]:
        """Sequences that a commit of this writer should apply along with its own.

        A claim that the power has taken may be a queued change's by now: it is left out.
        """
        ages = {
            number: claim_age_seconds(self._directory, number, 0.0) for number in self._abandoned
        }
        self._abandoned = {number for number, age in ages.items() if age is not None}
        return frozenset(self._abandoned)

    def settle(self, sequences: Iterable[int]) -> None:
        """Remove the files of sequences that a durable generation has applied."""
        for sequence in sequences:
            self._reader.let_go(submission_name(sequence))
            self._taken.discard(sequence)
            self._abandoned.discard(sequence)
            discard_file(self._directory, submission_name(sequence))

    def forget(self) -> None:
        """Leave claims to the process that made them."""
        self._taken, self._abandoned = set(), set()
