"""A directory on a simulated disk, which loses power and fails calls as a test wants it."""

from __future__ import annotations

import errno
import hashlib
import shutil
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faults import Faults
from scratch import scratch_folder
from simulated_disk import Disk, Entry, File, Folder

from weft.engine.errors import StorageError
from weft.engine.storage.directory import NAME, Directory, FileStatus, SyncFailedError
from weft.engine.storage.mapping import Bytes


class Shelf:
    """Real files for SQLite, one per content; many simulated disks share them."""

    def __init__(self) -> None:
        self.folder = scratch_folder()
        self._paths: dict[bytes, Path] = {}
        self._n_files = 0
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def new_path(self) -> Path:
        """A path that is not in use."""
        self._n_files += 1
        return self.folder / str(self._n_files)

    def path_of(self, content: bytes) -> Path:
        """The path of a file with this content."""
        key = hashlib.blake2b(content, digest_size=16).digest()
        if key not in self._paths:
            self._paths[key] = self.new_path()
            self._paths[key].write_bytes(content)
        return self._paths[key]

    def keep(self, path: Path, content: bytes) -> None:
        """Let a file that was written under a new path serve its content."""
        known = self._paths.setdefault(hashlib.blake2b(content, digest_size=16).digest(), path)
        if known != path:
            path.unlink()


class SimulatedDirectory(Directory):
    """A directory on a `Disk`; see there for what a power loss does to it.

    Args:
        disk: an empty one without it.
        shelf: shared with other directories; a new one without it.
        faults: which calls fail; none without it.
    """

    def __init__(
        self, disk: Disk | None = None, shelf: Shelf | None = None, faults: Faults | None = None
    ) -> None:
        self.disk = Disk() if disk is None else disk
        self.shelf = Shelf() if shelf is None else shelf
        self.faults = Faults() if faults is None else faults
        self._lock = threading.RLock()

    def __str__(self) -> str:
        return "a simulated disk"

    def create(self, name: str, *, durable: bool = True):
        """See `Directory.create`."""
        return self._create(name, durable)

    @contextmanager
    def _create(self, name: str, durable: bool) -> Iterator[_SimulatedFile]:
        file = self._new_file("create", name)
        try:
            yield _SimulatedFile(self, file, name)
            with self._lock:
                file.content = bytes(file.content)
            if durable:
                self._sync(file, "fsync", name)
        except BaseException:
            if durable:
                self._remove_leftover(name)
            raise

    @contextmanager
    def create_by_path(self, name: str) -> Iterator[Path]:
        """See `Directory.create_by_path`."""
        file = self._new_file("create", name)
        path = self.shelf.new_path()
        try:
            yield path
            content = path.read_bytes() if path.exists() else b""
            with self._call("write", name):
                self.disk.write(file, 0, content)
                file.content = content
            self.shelf.keep(path, content)
            self._sync(file, "fsync", name)
        except BaseException:
            path.unlink(missing_ok=True)
            self._remove_leftover(name)
            raise

    def publish(self, source: str, name: str) -> None:
        """See `Directory.publish`."""
        with self._call("publish", name):
            file = self._find(source)
            folder, last = self._parent(name)
            if last in folder.names:
                raise FileExistsError(errno.EEXIST, "File exists", name)
            self.disk.set_name(folder, last, file)

    def sync_folder(self, folder: str = "") -> None:
        """See `Directory.sync_folder`."""
        with self._call("create", folder):
            found, created = self._make_folders(folder)
        for parent in created:
            self._sync(parent, "sync", folder)
        self._sync(found, "sync", folder)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Directory.read`."""
        with self._call("read", name):
            content = self._file(name).content
            return bytes(content[offset : None if length is None else offset + length])

    def map(self, name: str) -> Bytes:
        """See `Directory.map`."""
        with self._call("map", name):
            return np.frombuffer(bytes(self._file(name).content), dtype=np.uint8)

    def readable_path(self, name: str) -> Path:
        """See `Directory.readable_path`."""
        with self._lock:
            try:
                return self.shelf.path_of(bytes(self._file(name).content))
            except FileNotFoundError:
                return self.shelf.folder / "none"

    def list(self, folder: str = "") -> list[str]:
        """See `Directory.list`."""
        with self._call("list", folder):
            try:
                found = self._find(folder) if folder else self.disk.root
            except FileNotFoundError:
                return []
            return sorted(found.names) if isinstance(found, Folder) else []

    def exists(self, name: str) -> bool:
        """See `Directory.exists`."""
        with self._call("exists", name):
            try:
                self._find(name)
            except FileNotFoundError:
                return False
            return True

    def status(self, name: str) -> FileStatus:
        """See `Directory.status`."""
        with self._call("status", name):
            found = self._find(name)
            size_bytes = len(found.content) if isinstance(found, File) else 4096
            return FileStatus(size_bytes, found.changed_seconds, found.modified_seconds)

    def touch(self, name: str) -> None:
        """See `Directory.touch`."""
        with self._call("touch", name):
            self.disk.touch(self._find(name))

    def clock_seconds(self) -> float:
        """See `Directory.clock_seconds`."""
        with self._call("clock", ""):
            return self.disk.now()

    def remove(self, name: str) -> None:
        """See `Directory.remove`."""
        with self._call("remove", name):
            self._remove(name)

    def _remove(self, name: str) -> None:
        found = self._find(name)
        if isinstance(found, Folder) and found.names:
            raise StorageError(errno.ENOTEMPTY, "cannot remove (Directory not empty)", name)
        folder, last = self._parent(name)
        self.disk.set_name(folder, last, None)

    def _remove_leftover(self, name: str) -> None:
        with self._lock:
            try:
                self._remove(name)
            except FileNotFoundError:
                return

    @contextmanager
    def _call(self, kind: str, name: str) -> Iterator[None]:
        """One call of the operating system, which may fail before or after it was done."""
        fault = self.faults.next(kind, name)
        if fault is not None and not fault.done:
            raise fault.error(name)
        with self._lock:
            yield
        if fault is not None:
            raise fault.error(name)

    def _sync(self, entry: Entry, kind: str, name: str) -> None:
        fault = self.faults.next(kind, name)
        with self._lock:
            if fault is None or fault.done:
                self.disk.sync(entry)
            elif fault.errno != errno.EINTR:
                self.disk.fail_sync(entry)
        if fault is not None:
            error = fault.error(name)
            if isinstance(error, StorageError):
                raise SyncFailedError(fault.errno, f"fsync failed: {error.strerror}", name)
            raise error

    def _find(self, name: str) -> Entry:
        """The entry of a name."""
        if not NAME.fullmatch(name):
            raise StorageError(f"{name!r} is no name for a file of an index.")
        found: Entry = self.disk.root
        for part in name.split("/"):
            if not isinstance(found, Folder) or part not in found.names:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
            found = found.names[part]
        return found

    def _file(self, name: str) -> File:
        found = self._find(name)
        if isinstance(found, Folder):
            raise StorageError(errno.EISDIR, "cannot read (Is a directory)", name)
        return found

    def _parent(self, name: str) -> tuple[Folder, str]:
        """The folder that holds a name, which must be there, and the name's last part."""
        if not NAME.fullmatch(name):
            raise StorageError(f"{name!r} is no name for a file of an index.")
        folder, _, last = name.rpartition("/")
        found = self._find(folder) if folder else self.disk.root
        if not isinstance(found, Folder):
            raise FileNotFoundError(errno.ENOTDIR, "Not a directory", name)
        return found, last

    def _make_folders(self, name: str) -> tuple[Folder, list[Folder]]:
        """A folder, made with those above it if need be, and the folders that gained a name."""
        if name and not NAME.fullmatch(name):
            raise StorageError(f"{name!r} is no name for a file of an index.")
        found, gained = self.disk.root, []
        for part in name.split("/") if name else ():
            below = found.names.get(part)
            if isinstance(below, File):
                raise StorageError(errno.ENOTDIR, "cannot create (Not a directory)", name)
            if below is None:
                below = Folder()
                self.disk.set_name(found, part, below)
                gained.append(found)
            found = below
        return found, gained

    def _new_file(self, kind: str, name: str) -> File:
        with self._call(kind, name):
            if not NAME.fullmatch(name):
                raise StorageError(f"{name!r} is no name for a file of an index.")
            folder, _, last = name.rpartition("/")
            found, _ = self._make_folders(folder)
            if last in found.names:
                raise FileExistsError(errno.EEXIST, "File exists", name)
            file = File()
            self.disk.set_name(found, last, file)
            self.disk.touch(file)
            return file


@dataclass(frozen=True, slots=True)
class _SimulatedFile:
    """A new file on the simulated disk."""

    directory: SimulatedDirectory
    file: File
    name: str

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        with self.directory._call("write", self.name):
            self.directory.disk.write(self.file, offset, bytes(memoryview(data).cast("B")))

    def read_at(self, offset: int, length: int) -> bytes:
        with self.directory._call("read", self.name):
            return bytes(self.file.content[offset : offset + length])
