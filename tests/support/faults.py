"""Which call of a simulated directory fails, and how."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from weft.engine.errors import StorageError

READS = ("read", "map", "list", "exists", "status", "clock")
SYNCS = ("fsync", "sync")


@dataclass(frozen=True, slots=True)
class Fault:
    """One way for a call to fail.

    Args:
        errno: what the operating system says.
        done: whether the call took effect all the same.
        lasting: whether all later calls that can fail so do, until `Faults.disarm`: a disk that
            is full, or gone.
    """

    errno: int
    done: bool = False
    lasting: bool = False

    def strikes(self, kind: str) -> bool:
        """Whether a call of this kind fails as long as the fault lasts."""
        return self.lasting and any(fault.errno == self.errno for fault in FAULTS[kind])

    def error(self, name: str) -> BaseException:
        """What the directory raises."""
        if self.errno == errno.EINTR:
            return KeyboardInterrupt()
        reason = f"cannot do it ({os.strerror(self.errno)})"
        if self.errno == errno.EEXIST:
            return FileExistsError(self.errno, reason, name)
        if self.errno == errno.ENOENT:
            return FileNotFoundError(self.errno, reason, name)
        return StorageError(self.errno, reason, name)

    def __str__(self) -> str:
        words = [errno.errorcode[self.errno]]
        words += ["though done"] * self.done + ["from then on"] * self.lasting
        return " ".join(words)


_GONE = Fault(errno.EIO, lasting=True)
_FULL = (
    Fault(errno.EIO),
    Fault(errno.ENOSPC),
    Fault(errno.EDQUOT),
    Fault(errno.ENOSPC, lasting=True),
    _GONE,
)

FAULTS: dict[str, tuple[Fault, ...]] = {
    **dict.fromkeys(READS, (Fault(errno.EIO), _GONE)),
    **dict.fromkeys(SYNCS, (Fault(errno.EIO), Fault(errno.ENOSPC), _GONE)),
    "create": _FULL,
    "write": _FULL,
    # A network file system repeats a link whose answer was lost, and then finds its own.
    "publish": (*_FULL, Fault(errno.EIO, done=True), Fault(errno.EEXIST, done=True)),
    "touch": (Fault(errno.EIO), Fault(errno.EROFS)),
    "remove": (Fault(errno.EIO), Fault(errno.EIO, done=True), Fault(errno.ENOENT, done=True)),
}
"""How the calls of each kind can fail."""

INTERRUPTS = (Fault(errno.EINTR), Fault(errno.EINTR, done=True))
"""An interrupt can come before and after any call."""


@dataclass(slots=True)
class Faults:
    """Counts calls and lets the one with number `at` fail.

    Args:
        at: counted from 0 after `arm`; None lets all calls pass.
        fault: how it fails.
    """

    at: int | None = None
    fault: Fault | None = None
    calls: list[tuple[str, str]] = field(default_factory=list)

    def arm(self, at: int, fault: Fault) -> None:
        """Let a call to come fail, counted from 0."""
        self.calls.clear()
        self.at, self.fault = at, fault

    def disarm(self) -> None:
        """Let all calls pass."""
        self.at = self.fault = None

    @property
    def hit(self) -> tuple[str, str] | None:
        """Kind and name of the call that failed; None as long as none did."""
        return self.calls[self.at] if self.at is not None and self.at < len(self.calls) else None

    def next(self, kind: str, name: str) -> Fault | None:
        """Count a call; how it fails, or None."""
        self.calls.append((kind, name))
        past = -1 if self.at is None else len(self.calls) - 1 - self.at
        if past == 0 or (past > 0 and self.fault is not None and self.fault.strikes(kind)):
            return self.fault
        return None
