"""What the operating system refuses, as errors that name the file and say what helps."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final

from ..errors import StorageError

_AS_THEY_ARE: Final = (FileNotFoundError, FileExistsError, StorageError)
"""What callers know by itself, or what names its file already."""

OUT_OF_DESCRIPTORS: Final = "compact the index, or raise the limit of open files (ulimit -n)"
"""What helps against EMFILE and ENFILE."""


def is_media_error(error: OSError) -> bool:
    """Whether the disk could not read, which is damage, and did not merely refuse."""
    return error.errno in (errno.EIO, errno.EILSEQ, errno.EBADMSG, getattr(errno, "EUCLEAN", -1))


def refused(action: str, path: str, error: OSError) -> StorageError:
    """The error for what could not be done with a file."""
    remedy = "check disk and permissions"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = OUT_OF_DESCRIPTORS
    reason = f"cannot {action} ({error.strerror}): {remedy}"
    return StorageError(error.errno, reason, path)


class Translated:
    """Turn what the operating system refuses into `StorageError`, naming the file."""

    __slots__ = ("_action", "_path")

    def __init__(self, action: str, path: str) -> None:
        self._action = action
        self._path = path

    def __enter__(self) -> None:
        """Nothing is held."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, OSError) or isinstance(error, _AS_THEY_ARE):
            return
        if isinstance(error, NotADirectoryError) and self._action != "create":
            raise FileNotFoundError(error.errno, error.strerror, self._path) from error
        raise refused(self._action, self._path, error) from error
