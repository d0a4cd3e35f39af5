"""Folders for many small indexes: in memory where there is such a file system."""

import os
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")


def scratch_folder() -> Path:
    """A new empty folder, to be removed by the caller."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="weft-", dir=MEMORY if usable else None))
