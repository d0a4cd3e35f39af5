"""The only code that touches the disk: write once, fsync, publish, map, list, collect.

Everything above it (segments, manifests, pins, collection) is written against `Directory`, so
that a directory which loses power or fails its n-th call can take the place of the local one.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from ..errors import StorageError
from .descriptors import make_folder, make_folders, open_new, opened, read_all
from .disk_errors import Translated, refused
from .mapping import Bytes, map_file
from .region_file import OPEN_REGIONS, RegionFile

logger = logging.getLogger(__name__)

NAME: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.\-]*)(?:/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")
"""Names of files and folders: relative, no way out of the index."""

TEMPORARY: Final = "tmp."
"""First letters of files that were not yet published; collection removes old ones."""


class SyncFailedError(StorageError):
    """An fsync failed: what was written before it may be lost, whatever a second one says."""


@dataclass(frozen=True, slots=True)
class FileStatus:
    """Length and times of a file, in seconds of the file server's clock.

    Args:
        size_bytes: length.
        changed_seconds: when its content, names or times were last changed.
        modified_seconds: when its content was last written, or its time set by `touch`; names
            that it gains or loses do not count.
    """

    size_bytes: int
    changed_seconds: float
    modified_seconds: float


class NewFile(Protocol):
    """A file being written; nobody else reads it until its context has ended."""

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at a byte offset, which may lie beyond the end."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Read back `length` bytes that this object has written."""


class Directory(ABC):
    """A folder of write-once files: the contract that commits rest on.

    Names are relative paths with `/` between folders. A folder comes into being with its first
    file. A file's content is durable when the context of `create` or `create_by_path` has ended,
    its name when the folder that holds it was synced afterwards; before that, either may be lost
    in a power failure, in any order. No file is changed after its context has ended, except that
    `touch` renews its time.

    All methods may be called from several threads. They raise `FileNotFoundError` and
    `FileExistsError` where that is the answer, `SyncFailedError` where an fsync failed, and
    `StorageError` for everything else that the disk refuses; its `errno` tells what (ENOTDIR where
    a file stands in the way of a folder that would have to be made).
    """

    @abstractmethod
    def create(self, name: str, *, durable: bool = True) -> AbstractContextManager[NewFile]:
        """Create a file, to be fsynced when the context ends.

        An error inside the context, or of the fsync, removes the file again. `durable=False` is
        for marks, which count from when they have their names: there is no fsync, so that they
        may go with the power, and no error removes them.

        Raises:
            FileExistsError: the name is taken.
        """

    @abstractmethod
    def create_by_path(self, name: str) -> AbstractContextManager[Path]:
        """As `create`, for a library that wants to write the file under a path of its own.

        The library must have closed the file when the context ends.
        """

    @abstractmethod
    def publish(self, source: str, name: str) -> None:
        """Give the file `source` a second name in one atomic step, which fails if it is taken.

        Raises:
            FileExistsError: the name is taken; on a network file system possibly by this call.
        """

    @abstractmethod
    def sync_folder(self, folder: str = "") -> None:
        """Make the names inside a folder durable; a folder that does not exist is created."""

    @abstractmethod
    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file from `offset`, at most `length`; fewer at its end."""

    @abstractmethod
    def map(self, name: str) -> Bytes:
        """A file as read-only memory, uint8 [size]; it stays readable after `remove`."""

    @abstractmethod
    def readable_path(self, name: str) -> Path:
        """A path under which a library may open the file for reading."""

    @abstractmethod
    def list(self, folder: str = "") -> list[str]:
        """Sorted names inside a folder, files and folders; empty where there is no folder."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether the name is there: one system call."""

    @abstractmethod
    def status(self, name: str) -> FileStatus:
        """Length and times of a file or folder; see `FileStatus`."""

    def modified_seconds(self, name: str) -> float | None:
        """The same of `status`, None where there is no such name: one system call."""
        try:
            return self.status(name).modified_seconds
        except FileNotFoundError:
            return None

    @abstractmethod
    def touch(self, name: str) -> None:
        """Set a file's time to now, by the file server's clock."""

    @abstractmethod
    def clock_seconds(self) -> float:
        """Now, by the clock that `status` tells times of."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, or an empty folder."""


class LocalDirectory(Directory):
    """A directory on a mounted file system that has hard links.

    Args:
        path: the folder; created with its first file.
        durable: False leaves fsync out, for indexes that may be lost, and for timings.
    """

    def __init__(self, path: str | Path, *, durable: bool = True) -> None:
        self.path = Path(path)
        self.durable = durable
        self._root = str(self.path)

    def __str__(self) -> str:
        return self._root

    def _path(self, name: str) -> str:
        if not _is_name(name):
            raise StorageError(f"{name!r} is no name for a file of an index.")
        return f"{self._root}/{name}"

    @contextmanager
    def create(self, name: str, *, durable: bool = True) -> Iterator[NewFile]:
        """See `Directory.create`."""
        path = self._path(name)
        with Translated("create", path):
            descriptor = open_new(path)
        try:
            try:
                # Others may look at a mark as soon as it is there, so that it gathers nothing.
                file = _LocalFile(RegionFile(descriptor, OPEN_REGIONS if durable else 0), path)
                yield file
                file.finish()
                if durable:
                    self._sync(descriptor, path)
            finally:
                os.close(descriptor)
        except BaseException:
            if durable:
                _remove_leftover(path)
            raise

    @contextmanager
    def create_by_path(self, name: str) -> Iterator[Path]:
        """See `Directory.create_by_path`."""
        path = self._path(name)
        with Translated("create", path):
            if Path(path).exists():
                raise FileExistsError(path)
            make_folder(Path(path).parent)
        try:
            yield Path(path)
            self._sync_path(path)
        except BaseException:
            _remove_leftover(path)
            raise

    def publish(self, source: str, name: str) -> None:
        """See `Directory.publish`."""
        path = self._path(name)
        with Translated("publish", path):
            os.link(self._path(source), path)

    def sync_folder(self, folder: str = "") -> None:
        """See `Directory.sync_folder`."""
        path = self._path(folder) if folder else self._root
        with Translated("create", path):
            created = make_folders(Path(path))
        for new in created:
            self._sync_path(str(new.parent))
        self._sync_path(path)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Directory.read`."""
        path = self._path(name)
        with Translated("read", path), opened(path) as descriptor:
            return read_all(descriptor, offset, length)

    def map(self, name: str) -> Bytes:
        """See `Directory.map`."""
        path = self._path(name)
        with Translated("map", path), opened(path) as descriptor:
            size_bytes = os.fstat(descriptor).st_size
            if size_bytes == 0:
                return np.empty(0, dtype=np.uint8)
            return map_file(descriptor, size_bytes)

    def readable_path(self, name: str) -> Path:
        """See `Directory.readable_path`."""
        return Path(self._path(name))

    def list(self, folder: str = "") -> list[str]:
        """See `Directory.list`."""
        path = self._path(folder) if folder else self._root
        try:
            with Translated("list", path):
                return sorted(os.listdir(path))  # noqa: PTH208 names are wanted, not paths
        except FileNotFoundError:
            return []

    def exists(self, name: str) -> bool:
        """See `Directory.exists`."""
        return self.modified_seconds(name) is not None

    def status(self, name: str) -> FileStatus:
        """See `Directory.status`."""
        path = self._path(name)
        with Translated("look up", path):
            found = os.stat(path)  # noqa: PTH116 as in `modified_seconds`
        return FileStatus(found.st_size, found.st_ctime, found.st_mtime)

    def modified_seconds(self, name: str) -> float | None:
        """See `Directory.modified_seconds`."""
        path = self._path(name)
        try:
            # Called twice by each search; a Path, or a context, costs more than the call.
            return os.stat(path).st_mtime  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise refused("look up", path, error) from error

    def touch(self, name: str) -> None:
        """See `Directory.touch`."""
        path = self._path(name)
        with Translated("touch", path):
            os.utime(path)

    def clock_seconds(self) -> float:
        """See `Directory.clock_seconds`."""
        name = f"{TEMPORARY}{uuid.uuid4().hex}"
        path = self._path(name)
        with Translated("create", path):
            descriptor = open_new(path)
            try:
                return os.fstat(descriptor).st_ctime
            finally:
                os.close(descriptor)
                # A collection that finds this process asleep may have been quicker.
                Path(path).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """See `Directory.remove`."""
        path = Path(self._path(name))
        with Translated("remove", str(path)):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()

    def _sync_path(self, path: str) -> None:
        with Translated("open", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sync(descriptor, path)
        finally:
            os.close(descriptor)

    def _sync(self, descriptor: int, path: str) -> None:
        if not self.durable:
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise SyncFailedError(
                error.errno,
                f"fsync failed ({error.strerror}): the disk may have lost what was written. Check "
                "the disk, then open the index again",
                path,
            ) from error


@lru_cache(maxsize=1024)
def _is_name(name: str) -> bool:
    """Whether a file may have this name; readers ask for the same few at each search."""
    return NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class _LocalFile:
    """A new file, with errors that name it."""

    regions: RegionFile
    path: str

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        with Translated("write", self.path):
            self.regions.write(offset, data)

    def read_at(self, offset: int, length: int) -> bytes:
        with Translated("write", self.path):
            self.regions.write_out(offset, length)
        with Translated("read", self.path):
            return self.regions.read(offset, length)

    def finish(self) -> None:
        with Translated("write", self.path):
            self.regions.write_out()


def _remove_leftover(path: str) -> None:
    """Remove a file whose writing failed; collection takes what cannot be removed now."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        logger.warning("The leftover of a failed write stays: %s", error)
