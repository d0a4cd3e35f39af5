"""What all work on a GPU has in common: errors in the engine's words, and what is said once."""

from __future__ import annotations

import logging
from typing import Final

from .. import kernels
from .errors import DeviceError, DeviceFailedError, DeviceMemoryError

announced: Final[set[str]] = set()
"""What was said in this process."""


def say_once(logger: logging.Logger, message: str) -> None:
    """Log a warning that is the same each time only once in a process."""
    if message not in announced:
        announced.add(message)
        logger.warning("%s", message)


def named_error(name: str, error: kernels.DeviceError) -> DeviceError:
    """The engine's error for one of the kernels, with the remedy.

    Args:
        name: of the device, as `Index.open` takes it.
        error: what was raised.
    """
    if isinstance(error, kernels.DeviceMemoryError):
        return DeviceMemoryError(
            f"{name}: {error}. Use a device with more memory, or device='auto'."
        )
    return DeviceFailedError(
        f"{name} failed: {error}. Start the process again; device='auto' goes on without the "
        "device."
    )
