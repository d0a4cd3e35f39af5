"""What must start afresh in a forked process: locks, threads, and what belongs to the parent."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol


class Forked(Protocol):
    """Something that lives on in a forked process."""

    def after_fork(self) -> None:
        """Replace locks and forget what is the parent's; touches no disk, takes no lock."""


_LIVING: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()


def tell_after_fork(owner: Forked) -> None:
    """Call `owner.after_fork` in each forked process, while the owner lives."""
    _LIVING.add(owner)


def _tell() -> None:
    for owner in list(_LIVING):
        owner.after_fork()


os.register_at_fork(after_in_child=_tell)
