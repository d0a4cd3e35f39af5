"""Leases: a file for each working process, renewed while it lives, so that others can tell."""

from __future__ import annotations

from typing import Final

from ..engine.closing import Closing
from ..engine.errors import StorageError
from ..engine.storage.directory import Directory
from ..engine.storage.files import discard_file
from ..engine.storage.layout import INBOX, new_identifier
from ..engine.storage.pins import Renewals, renew

LEASE_SECONDS: Final = 30.0
"""Age at which a process counts as dead: several renewals."""

RENEW_SECONDS: Final = 5.0
"""How often a lease is renewed."""

SUFFIX: Final = ".lease"


def lease_name(owner: str) -> str:
    """The file of an owner's lease."""
    return f"{INBOX}/{owner}{SUFFIX}"


class Lease(Closing):
    """This process's lease, taken when it first asks for its name.

    Args:
        directory: of the index.
        owner: a name of its own; a random one by default.
    """

    def __init__(self, directory: Directory, owner: str | None = None) -> None:
        self.owner = f"worker.{new_identifier()}" if owner is None else owner
        self._directory = directory
        self._renewals: Renewals | None = None

    def take(self) -> bool:
        """Make sure that the lease is there and ours.

        Returns:
            False if another process holds it, which can only be where it has a name in common.

        Raises:
            StorageError: the disk refused.
        """
        if self._renewals is not None and self._renewals.running and self.renew():
            return True
        try:
            with self._directory.create(lease_name(self.owner), durable=False):
                pass
        except FileExistsError:
            if is_alive(self._directory, self.owner):
                return False
            renew(self._directory, lease_name(self.owner))
        self._renewals = Renewals(self, RENEW_SECONDS)
        return True

    def renew(self) -> bool:
        """Renew it; False if the file is gone."""
        return renew(self._directory, lease_name(self.owner))

    def close(self) -> None:
        """Give it back."""
        if self._renewals is not None:
            self._renewals.stop()
            self._renewals = None
            discard_file(self._directory, lease_name(self.owner))


def is_alive(directory: Directory, owner: str, now_seconds: float | None = None) -> bool:
    """Whether an owner has renewed its lease lately, by the file server's clock."""
    try:
        changed_seconds = directory.status(lease_name(owner)).changed_seconds
    except (FileNotFoundError, StorageError):
        return False
    now_seconds = directory.clock_seconds() if now_seconds is None else now_seconds
    return now_seconds - changed_seconds < LEASE_SECONDS


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
        if age_seconds > 100 * LEASE_SECONDS:
            discard_file(directory, f"{INBOX}/{name}")
