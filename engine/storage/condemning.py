"""Marks on what no manifest names and nobody renews, so that it can be removed for certain.

A folder or a tombstone file was staged for some generation, and its writer may have been asleep
since. Times cannot tell for which one, since clocks step back. So it is removed in two steps:

1. It is *condemned*. A folder first gets a *bar*, with which no writer names it any more; see
   `pins.keep`. Then the newest generation is written down in a *sentence*: whoever got past the bar
   before has built on that generation, or on an older one. A tombstone file needs no bar, since a
   writer makes it after it has read what it builds on, and never uses it a second time.
2. Once there is a newer generation than that, each of those writers has published what it wanted,
   or has lost. What is still not named then is removed, by any collection.

Each collection has bars of its own and withdraws no other's, because another may be about to rely
on its own. A bar whose collection has died stays: it costs a writer that wakes up its folder, which
it makes again, and goes with the folder. A sentence is never withdrawn, and binds nobody to who
wrote it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from typing import Final

from ..errors import StorageError
from .directory import Directory
from .files import own_names, remove_file, remove_folder
from .layout import (
    CONDEMNED,
    TOMBSTONES,
    generations,
    new_identifier,
    sentence_of,
    tombstone_file,
)

logger = logging.getLogger(__name__)

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a disk that is full, for everybody or for this user."""


def condemn_folder(directory: Directory, folder: str, is_left_behind: Callable[[], bool]) -> None:
    """Bar a folder, look again, and sentence it.

    Args:
        directory: of the index.
        folder: that no manifest names.
        is_left_behind: whether nobody has renewed it, whatever marks are on it.

    Raises:
        StorageError: the disk refused; where it is full, the folder merely stays as it is.
    """
    bar = f"{folder}/{CONDEMNED}.{new_identifier()}"
    if not _place(directory, bar, folder):
        return
    if not is_left_behind():
        remove_file(directory, bar)
        return
    if not directory.exists(bar):
        return
    # Read with the bar in its place, so that nobody can build on a later one and get past it.
    newest = generations(directory)[-1]
    _place(directory, f"{folder}/{CONDEMNED}.{newest:016d}.{new_identifier()}", folder)


def condemn_tombstones(directory: Directory, name: str) -> None:
    """Sentence a tombstone file that no manifest names."""
    newest = generations(directory)[-1]
    identifier = name.removeprefix(f"{TOMBSTONES}/").partition(".")[0]
    _place(directory, f"{TOMBSTONES}/{CONDEMNED}.{newest:016d}.{identifier}", name)


def sentenced_folder(directory: Directory, folder: str) -> int | None:
    """The generation in the oldest sentence on a folder; None without one."""
    found = [sentence for sentence in map(sentence_of, directory.list(folder)) if sentence]
    return min((generation for generation, _ in found), default=None)


def sentenced_tombstones(directory: Directory) -> dict[str, int]:
    """The generation in the oldest sentence on each tombstone file that has one, by name."""
    oldest: dict[str, int] = {}
    # Sorted by name is sorted by generation.
    for sentence in map(sentence_of, directory.list(TOMBSTONES)):
        if sentence:
            oldest.setdefault(tombstone_file(sentence[1]), sentence[0])
    return oldest


def lift_needless(directory: Directory, named: Iterable[str]) -> None:
    """Remove sentences on tombstone files that are gone, or that their writer has named in time."""
    present = {*own_names(directory, TOMBSTONES)}.difference(named)
    for name in directory.list(TOMBSTONES):
        sentence = sentence_of(name)
        if sentence and tombstone_file(sentence[1]) not in present:
            remove_file(directory, f"{TOMBSTONES}/{name}")


def _place(directory: Directory, mark: str, name: str) -> bool:
    """Put a mark on something; False where there is no room for it, or no folder."""
    try:
        try:
            with directory.create(mark, durable=False):
                return True
        except StorageError as error:
            if error.errno not in NO_ROOM:
                raise
            return _place_as_link(directory, mark, name)
    except FileExistsError:
        return True
    except FileNotFoundError:
        return False
    except StorageError as error:
        if error.errno not in NO_ROOM | {errno.ENOTDIR}:
            raise
        logger.warning("%s stays for now: %s", name, error)
        return False


def _place_as_link(directory: Directory, mark: str, name: str) -> bool:
    """On a full disk a file gets the mark as a second name, which needs no file of its own.

    An empty folder has no file for that, and nothing to lose: it goes at once.

    What is condemned there goes behind a later commit as elsewhere, for which the rest of the
    collection has made room: nothing else would tell that its writer has lost.
    """
    if name.startswith(f"{TOMBSTONES}/"):
        directory.publish(name, mark)
        return True
    files = own_names(directory, name)
    if not files:
        remove_folder(directory, name)
        return False
    directory.publish(files[0], mark)
    return True
