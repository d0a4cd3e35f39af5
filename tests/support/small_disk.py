"""A small file system in memory that can be filled, where mounting is permitted."""

import errno
import os
import subprocess
from pathlib import Path


class SmallDisk:
    """A tmpfs of a few megabytes.

    Args:
        path: where it is mounted; an empty folder.
        size_bytes: of it.
        n_inodes: files and folders that it can hold.
    """

    def __init__(self, path, size_bytes=6 * 2**20, n_inodes=2000):
        self.path = Path(path)
        self._options = f"size={size_bytes},nr_inodes={n_inodes}"

    def mount(self):
        """Mount it; why that is not possible, or "" if it was done."""
        self.path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", self._options, "tmpfs", str(self.path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            return str(error)
        return done.stderr.strip() if done.returncode else ""

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True)

    def fill(self, free_bytes=0):
        """Leave no more than so many bytes free."""
        found = os.statvfs(self.path)
        used = found.f_bavail * found.f_frsize - free_bytes
        with (self.path / "filler").open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(1, used))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error

    def fill_inodes(self, free=0):
        """Leave no more than so many files to be made."""
        folder = self.path / "fillers"
        folder.mkdir()
        for n in range(max(0, os.statvfs(self.path).f_favail - free)):
            (folder / str(n)).touch()

    def empty(self):
        """Make room again."""
        (self.path / "filler").unlink(missing_ok=True)
        for path in self.path.glob("fillers/*"):
            path.unlink()
        if (self.path / "fillers").exists():
            (self.path / "fillers").rmdir()
