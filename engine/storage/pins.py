"""Pins: small files that keep what an open snapshot reads from being collected.

A pin names its generation and is renewed by setting its time, so that the collection, on any
machine, can tell by the file server's clock which ones belong to readers that still live.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Final, Protocol

from ..errors import StorageError
from .directory import Directory
from .files import discard_file
from .layout import is_mark, pin_name

logger = logging.getLogger(__name__)

RENEW_SECONDS: Final = 60.0
"""How often pins and staged files are renewed."""

PIN_SECONDS: Final = 900.0
"""Age at which a pin counts as left behind: several renewals."""


def write_pin(directory: Directory, generation: int) -> str | None:
    """Pin a generation.

    Returns:
        The pin's name; None where pins cannot be written (a read-only mount, a full disk): such
        a reader relies on the grace period of the collection.
    """
    name = pin_name(generation)
    try:
        with directory.create(name, durable=False) as file:
            file.write_at(0, b"")
    except (StorageError, FileNotFoundError) as error:
        logger.info("Reading generation %d without a pin: %s", generation, error)
        return None
    return name


def remove_pin(directory: Directory, name: str | None) -> None:
    """Let go of a pin."""
    if name is not None:
        discard_file(directory, name)


def renew(directory: Directory, name: str) -> bool:
    """Set a file's time to now.

    Returns:
        False if the file is gone; True as well where the disk refused, which is logged.
    """
    try:
        directory.touch(name)
    except FileNotFoundError:
        return False
    except StorageError as error:
        logger.warning("%s could not be renewed: %s", name, error)
    return True


def keep(directory: Directory, name: str) -> bool:
    """Renew a file whose folder no manifest names yet, right before one may do so.

    Collection first marks such a folder and then looks at the file's time again; here it is the
    other way round, so that one of the two sees the other. Any mark counts, whoever has made it.

    Returns:
        False if the folder was collected, or may be about to be.

    Raises:
        StorageError: the disk refused.
    """
    try:
        directory.touch(name)
    except FileNotFoundError:
        return False
    if any(is_mark(entry) for entry in directory.list(name.rpartition("/")[0])):
        return False
    # Marks are the last to go of a folder, so that the file may be gone without them.
    return directory.exists(name)


class Renewable(Protocol):
    """Something that has files to renew."""

    def renew(self) -> bool:
        """Renew what is held; False ends the renewals."""


class Renewals:
    """A daemon thread that renews an object's files while the object lives.

    Args:
        owner: what is renewed; only weakly referenced.
        seconds: between two renewals.
    """

    def __init__(self, owner: Renewable, seconds: float = RENEW_SECONDS) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_renew_regularly,
            args=(weakref.ref(owner, lambda _: self._stop.set()), self._stop, seconds),
            name="weft-pins",
            daemon=True,
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread lives; it does not in a forked process."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()


def _renew_regularly(owner: weakref.ref[Renewable], stop: threading.Event, seconds: float) -> None:
    while not stop.wait(seconds):
        held = owner()
        if held is None:
            return
        try:
            if not held.renew():
                return
        except Exception:
            # Without this thread all pins expire: the next round may go better.
            logger.exception("Pins could not be renewed.")
        del held
