"""Opening and reading files by their descriptors, for the local directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StorageError


def make_folders(path: Path) -> list[Path]:
    """Create a folder and those above it; the ones that were not there."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    return missing


def make_folder(path: Path) -> None:
    """Create a folder and those above it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        # That a folder's name is taken is not what callers ask by creating a file in it.
        reason = "cannot create a folder where a file or a broken link stands: move it away"
        raise StorageError(errno.ENOTDIR, reason, str(path)) from error


def open_new(path: str) -> int:
    """Create a file and, if need be, the folder that holds it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        make_folder(Path(path).parent)
        return os.open(path, flags, 0o666)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """The descriptor of a regular file; opening a pipe would wait for who writes into it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StorageError(errno.EINVAL, "is no regular file: move it away", path)
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int, offset: int, length: int | None) -> bytes:
    """Read up to `length` bytes, since one call may return fewer."""
    # Never more than there is: memory for all that is asked for would be reserved.
    there = os.fstat(descriptor).st_size - offset
    wanted = there if length is None else min(length, there)
    parts: list[bytes] = []
    while wanted > 0:
        part = os.pread(descriptor, min(wanted, 1 << 30), offset)
        if not part:
            break
        parts.append(part)
        offset, wanted = offset + len(part), wanted - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
