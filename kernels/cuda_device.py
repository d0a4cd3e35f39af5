"""Whether a GPU can be used here, and why not; the module `_cuda` is loaded nowhere else."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from .cuda_errors import DeviceError, DeviceUnavailableError

LEAST_CAPABILITY: Final = (8, 0)
"""Compute capability that the kernels are compiled for, or higher."""

DRIVER: Final = "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class CudaStatus:
    """What there is of GPUs.

    Args:
        usable: a search can be made on one.
        reason: why or why not, for people.
        devices: of each its name, compute_capability, processors, memory_bytes and free_bytes.
    """

    usable: bool
    reason: str
    devices: tuple[dict[str, Any], ...] = ()


_stand_in: ModuleType | None = None


def cuda_module() -> ModuleType:
    """The native module, loaded where there is a driver.

    Raises:
        DeviceUnavailableError: it cannot be loaded; says why.
    """
    if _stand_in is not None:
        return _stand_in
    found = _load(os.getpid())
    if isinstance(found, str):
        raise DeviceUnavailableError(found)
    return found


@functools.lru_cache(maxsize=2)
def _load(process: int) -> ModuleType | str:
    """The module, or why there is none; looked for once in a process."""
    if importlib.util.find_spec("._cuda", __package__) is None:
        return (
            "this installation has no kernels for GPUs: build Weft from source on a machine with "
            "nvcc (CUDA 12.4 or later)"
        )
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        return f"there is no NVIDIA driver ({error})"
    try:
        return importlib.import_module("._cuda", __package__)
    except ImportError as error:
        return f"weft.kernels._cuda cannot be imported ({error})"


def cuda_status(device: int = 0) -> CudaStatus:
    """Look for the driver, its devices, and whether one of them is good enough; never raises.

    Args:
        device: the one that is meant.
    """
    try:
        module = cuda_module()
        devices = tuple(module.device_facts(n) for n in range(module.device_count()))
    except DeviceError as error:
        return CudaStatus(False, str(error))
    if device >= len(devices):
        return CudaStatus(False, f"device {device} of {len(devices)} is not there", devices)
    facts = devices[device]
    capability = tuple(facts["compute_capability"])
    if _stand_in is None and capability < LEAST_CAPABILITY:
        found, least = (".".join(map(str, pair)) for pair in (capability, LEAST_CAPABILITY))
        reason = f"{facts['name']} has compute capability {found}; {least} or later is needed"
        return CudaStatus(False, reason, devices)
    return CudaStatus(True, f"{facts['name']}, device {device}", devices)


@contextmanager
def use_cuda_module(module: ModuleType) -> Iterator[None]:
    """Take another module for `_cuda`, for tests: the one that emulates a device on the host."""
    global _stand_in
    before, _stand_in = _stand_in, module
    try:
        yield
    finally:
        _stand_in = before
