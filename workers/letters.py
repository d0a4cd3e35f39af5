"""Dead letters: changes that were set aside, to be tried again or dropped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..engine.errors import InvalidParameterError
from ..engine.storage.directory import LocalDirectory
from ..engine.storage.reader import Reader
from ..engine.storage.sequences import Applied
from ..engine.storage.writer import Writer
from .bell import Bell
from .inbox import DeadLetter, Inbox
from .watch import ManifestWatch


def dead_letters(index: str | Path) -> list[DeadLetter]:
    """The dead letters of an index, in their order.

    Raises:
        IndexNotFoundError, CorruptIndexError: there is no index, or it cannot be read.
    """
    directory = LocalDirectory(index)
    applied = Applied.of(ManifestWatch(directory).newest())
    return list(Inbox(directory).dead_letters(applied))


def retry(index: str | Path, sequences: Iterable[int], broker_url: str | None = None) -> None:
    """Have dead letters tried again, in their old places in the order.

    Args:
        index: folder of the index.
        sequences: of dead letters.
        broker_url: of the workers' Redis; None leaves it to their next sweep.

    Raises:
        InvalidParameterError: one of them is no dead letter; nothing was done.
        StorageError: the disk refused.
    """
    chosen = _checked(index, sequences)
    inbox = Inbox(LocalDirectory(index))
    for sequence in chosen:
        inbox.revive(sequence)
    if broker_url is not None and chosen:
        uuid = ManifestWatch(LocalDirectory(index)).newest().index_uuid
        bell = Bell(broker_url, uuid)
        bell.ring(chosen[0])
        bell.close()


def drop(index: str | Path, sequences: Iterable[int]) -> None:
    """Give dead letters up: what is left of them is never applied.

    Raises:
        InvalidParameterError: one of them is no dead letter; nothing was done.
        StorageError: the disk refused; nothing was done.
    """
    chosen = _checked(index, sequences)
    if not chosen:
        return
    with Reader(index) as reader, Writer(reader.directory, reader=reader) as writer:
        writer.commit_queued([], completed=chosen)
        inbox = Inbox(reader.directory)
        for sequence in chosen:
            inbox.forget_letter(sequence)


def _checked(index: str | Path, sequences: Iterable[int]) -> list[int]:
    known = {letter.sequence for letter in dead_letters(index)}
    chosen = list(dict.fromkeys(sequences))
    for sequence in chosen:
        if sequence not in known:
            raise InvalidParameterError(
                f"{sequence!r} is no dead letter of {index}: `weft dead-letters list` shows them."
            )
    return chosen
