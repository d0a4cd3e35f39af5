"""Small whole files of an index: tensors written and read at once, leftovers removed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from .checksums import checksum, read_verified
from .directory import NAME, Directory
from .layout import is_mark
from .manifest import FileRef
from .tensors import TensorWriter, read_header

logger = logging.getLogger(__name__)


def write_tensors(directory: Directory, name: str, tensors: Mapping[str, NDArray[Any]]) -> FileRef:
    """Write a safetensors file; it is durable but for its name.

    Returns:
        Its length and checksum, for the manifest.

    Raises:
        StorageError: the disk refused, or the file was collected meanwhile.
    """
    with directory.create(name) as file:
        writer = TensorWriter(file)
        for key, tensor in tensors.items():
            writer.put(key, tensor)
        writer.finish()
    try:
        data = directory.read(name)
    except FileNotFoundError as error:
        raise collected(name) from error
    return FileRef(len(data), checksum(data))


def collected(name: str) -> StorageError:
    """The error of a process that had stopped while it wrote: its file was taken for left behind.

    Args:
        name: of a file or folder that no manifest names yet.
    """
    return StorageError(
        f"{name} was collected, since it had neither been committed nor renewed for too long; "
        "nothing was applied. Start again: add the documents once more."
    )


def read_tensors(directory: Directory, name: str, ref: FileRef) -> dict[str, NDArray[Any]]:
    """Read a safetensors file whole, checked against its length and checksum.

    Raises:
        CorruptIndexError: it is missing, damaged, or no safetensors file.
    """
    data = np.frombuffer(read_verified(directory, name, ref.size_bytes, ref.crc32c), np.uint8)
    return {key: found.of(data) for key, found in read_header(data, name).items()}


def own_names(directory: Directory, folder: str) -> list[str]:
    """Whole names inside a folder, but for hidden ones and others that Weft never gives.

    A file manager leaves such files, and a network file system where an open one is removed.
    """
    names = [f"{folder}/{entry}" for entry in directory.list(folder)]
    return [name for name in names if NAME.fullmatch(name)]


def remove_folder(directory: Directory, folder: str) -> int:
    """Remove a folder of files; what is gone already is no error, nor what is not Weft's.

    Returns:
        Bytes of the files removed.
    """
    freed_bytes = 0
    try:
        # Marks last: a writer must not find what it staged, and no mark on it.
        for name in sorted(own_names(directory, folder), key=is_mark):
            freed_bytes += remove_file(directory, name)
        directory.remove(folder)
    except FileNotFoundError:
        logger.debug("%s was removed by another process.", folder)
    except StorageError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        logger.info("%s stays for now, since it holds files that are not Weft's.", folder)
    return freed_bytes


def remove_file(directory: Directory, name: str) -> int:
    """Remove a file; one that is gone already is no error.

    Returns:
        Bytes of the file.
    """
    try:
        size_bytes = directory.status(name).size_bytes
        directory.remove(name)
    except FileNotFoundError:
        return 0
    return size_bytes


def discard_folder(directory: Directory, folder: str) -> None:
    """Remove a folder that no manifest names; collection takes what stays."""
    try:
        remove_folder(directory, folder)
    except StorageError as error:
        logger.warning("%s stays until it is collected: %s", folder, error)


def discard_file(directory: Directory, name: str) -> None:
    """Remove a file that no manifest names; collection takes what stays."""
    try:
        remove_file(directory, name)
    except StorageError as error:
        logger.warning("%s stays until it is collected: %s", name, error)
