"""What can go wrong with a GPU; `_cuda` raises these by name."""

from __future__ import annotations


class DeviceError(RuntimeError):
    """The root of errors about a device."""


class DeviceUnavailableError(DeviceError):
    """There is no usable GPU; the message says why."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The memory of the device, or pinned memory, does not suffice; it can still be used."""


class DeviceFailedError(DeviceError):
    """The device or its driver failed; this process may not be able to use it any more."""
