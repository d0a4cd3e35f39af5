"""Leases: a file for each working process, renewed while it lives, so that others can tell.

The file holds how many seconds it is good for, so that whoever looks at it, whatever its own
settings are, comes to the same conclusion.
"""

from __future__ import annotations

import re
import threading
from typing import Final

from ..engine.closing import Closing
from ..engine.errors import StorageError
from ..engine.storage.directory import Directory
from ..engine.storage.files import discard_file
from ..engine.storage.layout import INBOX, new_identifier
from ..engine.storage.pins import Renewals, renew

LEASE_SECONDS: Final = 30.0
"""Age at which a process counts as dead, unless its lease says otherwise."""

RENEWALS: Final = 6
"""How often a lease is renewed within that time."""

MAX_LEASE_SECONDS: Final = 3600.0
"""No lease is good for longer, whatever it says."""

CONTENT_BYTES: Final = 32

SUFFIX: Final = ".lease"

_OWNER: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")


def lease_name(owner: str) -> str:
    """The file of an owner's lease."""
    return f"{INBOX}/{owner}{SUFFIX}"


class Lease(Closing):
    """This process's lease, taken when it first asks for its name. Safe to share by threads.

    Args:
        directory: of the index.
        owner: a name of its own; a random one by default.
        seconds: age at which it is over.
    """

    def __init__(
        self, directory: Directory, owner: str | None = None, seconds: float = LEASE_SECONDS
    ) -> None:
        self.owner = f"worker.{new_identifier()}" if owner is None else owner
        self._directory = directory
        self._seconds = seconds
        self._lock = threading.Lock()
        self._renewals: Renewals | None = None

    def take(self) -> bool:
        """Make sure that the lease is there and ours.

        Returns:
            False if another process holds it, which can only be where it has a name in common.

        Raises:
            StorageError: the disk refused.
        """
        with self._lock:
            if self._renewals is not None and self._renewals.running and self.renew():
                return True
            try:
                self._create()
            except FileExistsError:
                if is_alive(self._directory, self.owner):
                    return False
                renew(self._directory, lease_name(self.owner))
            self._renewals = Renewals(self, self._seconds / RENEWALS)
            return True

    def _create(self) -> None:
        name = lease_name(self.owner)
        try:
            with self._directory.create(name, durable=False) as file:
                file.write_at(0, f"{self._seconds:g}".encode())
        except StorageError:
            # Otherwise the next attempt would take it for another process's.
            discard_file(self._directory, name)
            raise

    def renew(self) -> bool:
        """Renew it; False if the file is gone."""
        return renew(self._directory, lease_name(self.owner))

    def close(self) -> None:
        """Give it back."""
        with self._lock:
            if self._renewals is not None:
                self._renewals.stop()
                self._renewals = None
                discard_file(self._directory, lease_name(self.owner))


def is_alive(directory: Directory, owner: str, now_seconds: float | None = None) -> bool:
    """Whether an owner has renewed its lease lately, by the file server's clock.

    Raises:
        StorageError: the disk refused; nobody should be taken for dead for it.
    """
    if not _OWNER.fullmatch(owner):
        # Whatever wrote that is no worker, and must not hold one up.
        return False
    name = lease_name(owner)
    try:
        # Read first: on a network file system that brings the file's times up to date.
        seconds = _term(directory.read(name, 0, CONTENT_BYTES))
        changed_seconds = directory.status(name).changed_seconds
    except FileNotFoundError:
        return False
    now_seconds = directory.clock_seconds() if now_seconds is None else now_seconds
    # A clock that was set back leaves the dead a time to come; the living renew theirs.
    return -seconds < now_seconds - changed_seconds < seconds


def _term(content: bytes) -> float:
    """How long a lease is good for; the usual time where it does not say."""
    try:
        seconds = float(content)
    except ValueError:
        return LEASE_SECONDS
    return min(seconds, MAX_LEASE_SECONDS) if seconds > 0 else LEASE_SECONDS


def remove_expired(directory: Directory) -> None:
    """Remove leases of processes that are long dead."""
    names = [name for name in directory.list(INBOX) if name.endswith(SUFFIX)]
    if not names:
        return
    now_seconds = directory.clock_seconds()
    for name in names:
        try:
            age_seconds = now_seconds - directory.status(f"{INBOX}/{name}").changed_seconds
        except FileNotFoundError:
            continue
        if age_seconds > MAX_LEASE_SECONDS:
            discard_file(directory, f"{INBOX}/{name}")
