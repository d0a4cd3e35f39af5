"""Checking and repairing an index that may not open: `weft.check` and `weft.repair`."""

from __future__ import annotations

from pathlib import Path

from .storage.check import check as check_directory
from .storage.checking.report import CheckReport, Damage, LostDocuments, RepairReport
from .storage.repair import repair as repair_directory
from .validation import check_path

__all__ = ["CheckReport", "Damage", "LostDocuments", "RepairReport", "check", "repair"]


def check(path: str | Path) -> CheckReport:
    """Verify every byte and the structure of an index, whether or not it can be opened.

    Only reads, in about the memory that opening the index takes. The index may be searched,
    changed and collected meanwhile: what is checked is the newest generation.

    Args:
        path: the folder.

    Returns:
        All damage with file and offset, and the documents that are lost with it; `ok` says
        whether there is none.

    Raises:
        IndexNotFoundError: the folder holds no index.
        UnsupportedFormatError: a newer Weft wrote it.
        CorruptIndexError: no manifest can be read, so that nothing can be told.
        StorageError: the disk refuses.
    """
    return check_directory(check_path(path))


def repair(path: str | Path) -> RepairReport:
    """Check an index and drop what is damaged, in one commit: whole segments, nothing finer.

    The documents that are lost are named in the report; add them again from their source. Where
    nothing is damaged, nothing is done.

    Args:
        path: the folder. The index may be in use.

    Raises:
        IndexNotFoundError, UnsupportedFormatError, CorruptIndexError, StorageError: as `check`.
        CommitConflictError, CommitUncertainError: the commit lost, or its outcome is not known.
    """
    return repair_directory(check_path(path))
