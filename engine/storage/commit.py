"""The commit: one manifest published by an atomic create, which is the lock and the fence."""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..errors import (
    CommitConflictError,
    CommitUncertainError,
    CorruptIndexError,
    StorageError,
)
from .directory import Directory, SyncFailedError
from .files import discard_file
from .generation import is_there, newest_generation, read_manifest
from .layout import manifest_name, temporary_name
from .manifest import MAX_MANIFEST_BYTES, Manifest
from .reader import Reader, Snapshot

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 128
"""Times that a commit is prepared again after losing against others."""

MAX_PAUSE_SECONDS: Final = 0.05
"""Longest pause between two attempts."""

REFUSALS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMLINK}
)
"""Errors of a link that say that it was not made; after others it may yet appear."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A manifest ready to be published, and files that only it names."""

    manifest: Manifest
    files: list[str] = field(default_factory=list)


Prepare = Callable[[Snapshot], Prepared | None]


@dataclass(slots=True)
class Outcome:
    """Whether files of a commit may be discarded, whatever error came out of it.

    An interrupt can arrive at any moment, also after the manifest got its name. So it counts as
    published from before the link until it is certain that it was not.
    """

    may_be_published: bool = False


def commit(reader: Reader, prepare: Prepare, outcome: Outcome) -> Manifest | None:
    """Prepare on the newest generation and publish, again for as long as another writer wins.

    Args:
        reader: of the index.
        prepare: makes the successor of a generation, writing what only it needs; None if there
            is nothing to change.
        outcome: told what is known; after any error, files that a manifest made by `prepare`
            names may be discarded only if it may not be published.

    Returns:
        The published manifest, or None.

    Raises:
        CommitConflictError: others won `MAX_ATTEMPTS` times; nothing was applied.
        CommitUncertainError: it is not known whether the commit took place.
        StorageError: the disk refused before anything was published.
    """
    for attempt in range(MAX_ATTEMPTS):
        with reader.snapshot() as base:
            prepared = prepare(base)
            if prepared is None:
                return None
            if _publish_or_discard(reader.directory, base.manifest, prepared, outcome):
                return prepared.manifest
        time.sleep(random.uniform(0, min(MAX_PAUSE_SECONDS, 0.001 * 2 ** min(attempt, 10))))
    raise CommitConflictError(
        f"Other writers won {MAX_ATTEMPTS} times in a row; nothing was applied. Try again."
    )


def _publish_or_discard(
    directory: Directory, base: Manifest, prepared: Prepared, outcome: Outcome
) -> bool:
    try:
        return publish(directory, base, prepared.manifest, outcome)
    finally:
        if not outcome.may_be_published:
            _discard(directory, prepared)


def _discard(directory: Directory, prepared: Prepared) -> None:
    for name in prepared.files:
        discard_file(directory, name)


def publish(
    directory: Directory, base: Manifest | None, successor: Manifest, outcome: Outcome
) -> bool:
    """Try to make a manifest the next generation.

    Args:
        directory: of the index.
        base: the generation it was made from; None for the first.
        successor: its commit UUID tells it from that of another writer.
        outcome: told what is known, also where an interrupt ends this.

    Returns:
        False if another writer's manifest is there, or if the base was collected before.

    Raises:
        CommitUncertainError: the disk failed in a way that leaves the outcome open.
        StorageError: the disk refused, or the manifest is too long; nothing was published.
    """
    temporary, data = temporary_name(), successor.encode()
    if len(data) > MAX_MANIFEST_BYTES:
        raise StorageError(
            f"The manifest would have {len(data):,} bytes, and more than {MAX_MANIFEST_BYTES:,} "
            "are not read; nothing was applied. Compact the index, then try again."
        )
    with directory.create(temporary) as file:
        file.write_at(0, data)
    try:
        # A writer that slept may have been overtaken and collected, so that the name is free again.
        # Or the whole index was replaced by another one of as many generations.
        if base is not None and not is_there(directory, base):
            return False
        outcome.may_be_published = True
        won = _link(directory, temporary, successor, outcome)
        outcome.may_be_published = won
        if won:
            _confirm(directory, base, successor)
        return won
    finally:
        discard_file(directory, temporary)


def _link(directory: Directory, temporary: str, successor: Manifest, outcome: Outcome) -> bool:
    """Whether the name is now ours."""
    try:
        directory.publish(temporary, manifest_name(successor.generation))
    except (FileExistsError, FileNotFoundError):
        # Without its temporary name, the manifest was collected while the writer slept.
        return _is_own(directory, successor) is True
    except StorageError as error:
        own = _is_own(directory, successor)
        if own is None and error.errno in REFUSALS:
            outcome.may_be_published = False
            raise
        if own is None:
            raise _uncertain(successor, error) from error
        return own
    return True


def _is_own(directory: Directory, successor: Manifest) -> bool | None:
    """Whether the manifest that stands there is ours; None if there is none.

    A network file system may repeat a link that it has made, and then tell that it exists.
    """
    try:
        found = read_manifest(directory, successor.generation)
    except FileNotFoundError:
        return None
    except StorageError as error:
        raise _uncertain(successor, error) from error
    return found.commit_uuid == successor.commit_uuid


def _confirm(directory: Directory, base: Manifest | None, successor: Manifest) -> None:
    """Make the name durable, and make sure that it was the next one when it was given.

    If the base is gone, this writer slept either before the link, so that the name had been
    another's before, or after it, so that others may have built on it. Its manifest stays in
    both cases: one that came too late lies below the newest, and is never read.
    """
    try:
        directory.sync_folder()
        if base is None or directory.exists(manifest_name(base.generation)):
            return
        stands = _stands(directory, base, successor)
    except (StorageError, FileNotFoundError, CorruptIndexError) as error:
        raise _uncertain(successor, error) from error
    if not stands:
        raise CommitUncertainError(
            f"Generation {successor.generation} may or may not have been committed, since this "
            "process slept for so long that its base was collected. Read the index again to learn "
            "which."
        )


def _stands(directory: Directory, base: Manifest, successor: Manifest) -> bool:
    """Whether a manifest is certain to be part of the history, though its base is gone.

    Collection keeps the newest generation, so that a link which came too late always has a newer
    one above it. Below a newer one, what only this commit has made tells whose child that is.
    """
    newest = newest_generation(directory)
    if newest is None or newest == successor.generation:
        return newest is not None
    return bool((_parts(successor) - _parts(base)) & _parts(read_manifest(directory, newest)))


def _parts(manifest: Manifest) -> set[str]:
    """Ids of all files that a generation names; each was made for one commit."""
    segments = {ref.id for ref in manifest.segments}
    tombstones = {ref.id for ref in manifest.tombstones}
    return segments | tombstones | {ref.id for ref in manifest.codecs}


def _uncertain(successor: Manifest, error: OSError | CorruptIndexError) -> CommitUncertainError:
    kind = "an fsync" if isinstance(error, SyncFailedError) else "the disk"
    return CommitUncertainError(
        error.errno if isinstance(error, OSError) else None,
        f"generation {successor.generation} may or may not have been committed, since {kind} "
        f"failed after it was published ({error}). Open the index again to learn which",
    )
