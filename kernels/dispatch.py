"""Which implementation runs: the native module's targets, or the NumPy reference without it."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from . import reference

logger = logging.getLogger(__name__)

REFERENCE = "reference"
"""The name of the only target where the native module is missing."""


@functools.cache
def backend() -> ModuleType:
    """The module that holds the kernels: native, or the reference with one logged warning."""
    try:
        return importlib.import_module("._core", __package__)
    except ImportError as error:
        logger.warning(
            "weft.kernels._core cannot be imported (%s); NumPy does its work, many times slower. "
            "Install weft again on a machine with a C++ compiler, or from a wheel.",
            error,
        )
        return reference


def targets() -> list[str]:
    """Names of the targets that this machine can run, the plainest first.

    Returns:
        Some of "baseline", "avx2", "avx512" and "amx"; "reference" alone without the native module.
    """
    native = backend()
    return [REFERENCE] if native is reference else list(native.targets())


def active_target() -> str:
    """The target that runs the kernels: the best one, or what WEFT_TARGET names.

    Raises:
        ValueError: WEFT_TARGET names a target that is unknown or that this machine lacks.
    """
    native = backend()
    return REFERENCE if native is reference else str(native.active_target())


@contextmanager
def use_target(name: str) -> Iterator[None]:
    """Run the kernels of the whole process on one target, for tests and measurements.

    Args:
        name: one of `targets()`.

    Raises:
        ValueError: the name is unknown, or this machine lacks the target.
    """
    if name not in targets():
        raise ValueError(f"target {name!r} is not one of {', '.join(targets())}")
    before = active_target()
    _set_target(name)
    try:
        yield
    finally:
        _set_target(before)


def _set_target(name: str) -> None:
    """Switch the native module; the reference has nothing to switch."""
    native = backend()
    if native is not reference:
        native.set_target(name)


def default_threads() -> int:
    """How many threads `threads=0` stands for.

    Returns:
        The cores that this process may use, or WEFT_THREADS where that is set; 1 without the
        native module.

    Raises:
        ValueError: WEFT_THREADS is no number of 1 to 256.
    """
    native = backend()
    return 1 if native is reference else int(native.default_threads())
