"""What the service itself remembers: JSON files beside the collections, each replaced whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

FOLDER: Final = ".weft-service"
"""Below the root; no collection can have this name."""

Record = dict[str, Any]


class Records:
    """Files and what is known of vector stores. Safe to share by threads and processes.

    stores/<name>/store.json            name, metadata and age of a vector store
    stores/<name>/files/<file>.json     a file in it: state, attributes, chunks
    stores/<name>/batches/<batch>.json  files that were attached together
    files/<file>/{file.json,content}    an uploaded file
    trash/<id>                          a collection that is being removed

    Args:
        root: of the service.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def store(self, name: str) -> Path:
        """Folder of what is known of a vector store."""
        return self.folder / "stores" / name

    def file(self, id: str) -> Path:
        """Folder of an uploaded file."""
        return self.folder / "files" / id

    def attached(self, name: str, id: str) -> Path:
        """The record of a file in a vector store."""
        return self.store(name) / "files" / f"{id}.json"

    def batch(self, name: str, id: str) -> Path:
        """The record of files that were attached together."""
        return self.store(name) / "batches" / f"{id}.json"

    def trash(self) -> Path:
        """A new name for what is about to be removed; its folder is there."""
        folder = self.folder / "trash"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / uuid.uuid4().hex

    def forget_store(self, name: str) -> None:
        """Remove what is known of a vector store."""
        remove_folder(self.store(name), self.trash())

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Nobody else changes records of a vector store meanwhile; for moments, not for work."""
        with exclusive(self.folder / "locks" / f"{name}.lock", wait=True):
            yield

    def change(self, name: str, path: Path, change: Callable[[Record], Record | None]) -> bool:
        """Change a record that is still there.

        Args:
            name: of the vector store.
            path: of the record.
            change: gets what is there; gives what is to be, or None to leave it.

        Returns:
            Whether it was there and was changed.
        """
        with self.locked(name):
            found = read_record(path)
            changed = None if found is None else change(found)
            if changed is None:
                return False
            write_record(path, changed)
            return True


def read_record(path: Path) -> Record | None:
    """A record, None where there is none."""
    try:
        found: Record = orjson.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found


def write_record(path: Path, record: Record) -> None:
    """Put a record in the place of what is there, durable when the call returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(orjson.dumps(record))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def records_in(folder: Path) -> list[Record]:
    """All records of a folder, in the order of their names."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []
    return [record for record in map(read_record, paths) if record is not None]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_folder(folder: Path, trash: Path) -> None:
    """Remove a folder in one step for all who look, and then what was in it."""
    try:
        folder.rename(trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock that the operating system gives back when its process ends.

    Args:
        path: of the lock's file, which stays.
        wait: until it is free; otherwise the block is told whether it has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield _lock(descriptor, wait=wait)
    finally:
        os.close(descriptor)


@contextmanager
def held_folder(folder: Path) -> Iterator[bool]:
    """Hold a folder as `exclusive` does a file, without waiting; False where there is none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    try:
        yield _lock(descriptor, wait=False)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
