"""Steers `system_calls.c`, which counts and disturbs the system calls that change files."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

PASS, FAIL, SHORT, DIE_AFTER, DIE_HALFWAY = range(5)
"""What happens to the armed call."""

WRITES = frozenset({"write", "pwrite", "pwrite64", "writev", "pwritev"})
"""Calls that can be done in part."""

SYNCS = frozenset({"fsync", "fdatasync"})


def missing() -> str | None:
    """Why calls cannot be counted here; None if they can."""
    if not sys.platform.startswith("linux"):
        return f"system calls are counted by LD_PRELOAD, which {sys.platform} does not have"
    if shutil.which("cc") is None:
        return "system calls are counted by a library in C, and there is no compiler (cc)"
    return None


def build(folder: Path) -> Path:
    """Compile the library that is to be preloaded."""
    library = folder / "system_calls.so"
    source = Path(__file__).with_name("system_calls.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)
    return library


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.system_calls_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    library.system_calls_count.restype = ctypes.c_long
    library.system_calls_name.argtypes = [ctypes.c_long]
    library.system_calls_name.restype = ctypes.c_char_p
    return library


def arm(folder: Path, at: int = -1, mode: int = PASS, error: int = 0) -> None:
    """Count calls from now on that change a folder or what lies below it.

    The one with number `at` goes wrong.
    """
    _library().system_calls_arm(str(folder).encode(), at, mode, error)


def disarm() -> None:
    """Stop counting."""
    _library().system_calls_disarm()


def names() -> list[str]:
    """The calls that were counted since `arm`, in order."""
    library = _library()
    return [library.system_calls_name(n).decode() for n in range(library.system_calls_count())]
