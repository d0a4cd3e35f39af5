"""A disk that loses power: what was not fsynced may be kept, dropped, reordered or torn.

Running processes see every write at once. The disk itself is only sure of the content of files
that were fsynced, and of names whose folder was synced afterwards. A `Disk` keeps a journal of
what was done to it; `PowerLoss` replays the journal up to a moment and makes one of the disks
that could be found after the power failed there. One journal serves any number of losses.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeAlias

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)
"""How much of what was not synced a power loss keeps; drawn anew for names and for data."""

START_SECONDS = 4_000_000_000.0
"""The disk's clock is far from this machine's, so that mixing the two is noticed."""

STEP_SECONDS = 1e-5
"""The clock moves on by this with each reading."""


@dataclass(eq=False, slots=True)
class File:
    """A file as running processes see it."""

    content: bytes | bytearray = b""
    modified_seconds: float = START_SECONDS
    changed_seconds: float = START_SECONDS


@dataclass(eq=False, slots=True)
class Folder:
    """A folder as running processes see it."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    modified_seconds: float = START_SECONDS
    changed_seconds: float = START_SECONDS


Entry: TypeAlias = File | Folder
Event: TypeAlias = (
    tuple[Literal["write"], File, tuple[int, bytes]]
    | tuple[Literal["touch"], File, float]
    | tuple[Literal["name"], Folder, tuple[str, Entry | None]]
    | tuple[Literal["sync", "failed"], Entry, None]
)


class Disk:
    """The live state of a disk and the journal of what was done to it.

    Args:
        root: a tree that the disk holds for sure; an empty folder without one.
        seconds: of its clock.
    """

    def __init__(self, root: Folder | None = None, seconds: float = START_SECONDS) -> None:
        self.root = Folder() if root is None else root
        self.seconds = seconds
        self.journal: list[Event] = []
        self._record_tree(self.root)
        self.start = len(self.journal)

    def _record_tree(self, folder: Folder) -> None:
        for name, entry in folder.names.items():
            if isinstance(entry, Folder):
                self._record_tree(entry)
            else:
                self.journal.append(("write", entry, (0, bytes(entry.content))))
                self.journal.append(("touch", entry, entry.modified_seconds))
                self.journal.append(("sync", entry, None))
            self.journal.append(("name", folder, (name, entry)))
        self.journal.append(("sync", folder, None))

    def __len__(self) -> int:
        """Moments at which the power may fail: before each event and after the last."""
        return len(self.journal)

    def now(self) -> float:
        """The clock, which no two readings find the same."""
        self.seconds += STEP_SECONDS
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds

    def write(self, file: File, offset: int, data: bytes) -> None:
        """Write into a file; what lies between its end and the offset becomes zeros."""
        if not isinstance(file.content, bytearray):
            file.content = bytearray(file.content)
        apply_write(file.content, offset, data)
        file.modified_seconds = file.changed_seconds = self.now()
        self.journal.append(("write", file, (offset, data)))

    def set_name(self, folder: Folder, name: str, entry: Entry | None) -> None:
        """Give an entry a name in a folder, or take the name away."""
        known = folder.names.pop(name, None) if entry is None else entry
        if entry is not None:
            folder.names[name] = entry
        now = self.now()
        folder.modified_seconds = folder.changed_seconds = now
        if known is not None:
            known.changed_seconds = now
        self.journal.append(("name", folder, (name, entry)))

    def touch(self, entry: Entry) -> None:
        """Set an entry's time to now."""
        entry.modified_seconds = entry.changed_seconds = self.now()
        if isinstance(entry, File):
            self.journal.append(("touch", entry, entry.modified_seconds))

    def sync(self, entry: Entry) -> None:
        """Make a file's content or a folder's names durable."""
        self.journal.append(("sync", entry, None))

    def fail_sync(self, entry: Entry) -> None:
        """An fsync that fails: a later one succeeds, and yet does not cover what this one lost."""
        self.journal.append(("failed", entry, None))

    def copy(self) -> Disk:
        """A disk of its own that holds for sure what running processes see now."""
        return Disk(_copy_folder(self.root, {}), self.seconds)


def apply_write(content: bytearray, offset: int, data: bytes) -> None:
    """Write into content, which grows with zeros as a file does."""
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _copy_folder(folder: Folder, files: dict[File, File]) -> Folder:
    copied = Folder({}, folder.modified_seconds, folder.changed_seconds)
    for name, entry in folder.names.items():
        if isinstance(entry, Folder):
            copied.names[name] = _copy_folder(entry, files)
        else:
            times = entry.modified_seconds, entry.changed_seconds
            copied.names[name] = files.setdefault(entry, File(bytes(entry.content), *times))
    return copied


@dataclass(eq=False, slots=True)
class _FileState:
    """What the disk is sure of, and the writes and times that it may have as well."""

    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    times: list[float] = field(default_factory=lambda: [START_SECONDS])

    def full(self) -> bytes:
        """The content with all writes."""
        if not self.pending:
            return self.durable
        if len(self.pending) == 1 and not self.durable and self.pending[0][0] == 0:
            return self.pending[0][1]
        content = bytearray(self.durable)
        for offset, data in self.pending:
            apply_write(content, offset, data)
        return bytes(content)

    def sync(self) -> None:
        self.durable, self.pending, self.times = self.full(), [], self.times[-1:]

    def settle(self, share: float, random: Random) -> bytes:
        """One of the contents that may be found after the power failed."""
        if share == 1 or not self.pending:
            return self.full()
        if share == 0:
            return self.durable
        content = bytearray(self.durable)
        # An older version of a sector may be the one that reached the disk.
        for offset, data in random.sample(self.pending, len(self.pending)):
            for start, end in _sectors(offset, len(data)):
                if random.random() < share:
                    apply_write(content, start, data[start - offset : end - offset])
        return self._with_length(content, random)

    def _with_length(self, content: bytearray, random: Random) -> bytes:
        """The length is written apart from the data: zeros, or data that is cut off."""
        lengths = [len(self.durable)]
        for offset, data in self.pending:
            lengths.append(max(lengths[-1], offset + len(data)))
        length = random.choice([*lengths, lengths[-1], len(content)])
        return bytes(content[:length]).ljust(length, b"\0")


def _sectors(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """The parts of a range of bytes that lie in one sector each."""
    end = offset + length
    while offset < end:
        stop = min(end, (offset // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield offset, stop
        offset = stop


@dataclass(eq=False, slots=True)
class _FolderState:
    """The names the disk is sure of, and the changes that it may have as well.

    `doomed` are those that a failed fsync has forgotten: no later one covers them.
    """

    durable: dict[str, Entry] = field(default_factory=dict)
    pending: list[tuple[str, Entry | None]] = field(default_factory=list)
    doomed: list[tuple[str, Entry | None]] = field(default_factory=list)

    def sync(self) -> None:
        covered = {name for name, _ in self.pending}
        self.doomed = [change for change in self.doomed if change[0] not in covered]
        for change in self.pending:
            _apply_change(self.durable, change)
        self.pending = []

    def fail(self) -> None:
        self.doomed += self.pending
        self.pending = []

    def settle(self, share: float, random: Random) -> dict[str, Entry]:
        names = dict(self.durable)
        for change in itertools.chain(self.doomed, self.pending):
            if random.random() < share:
                _apply_change(names, change)
        return names


def _apply_change(names: dict[str, Entry], change: tuple[str, Entry | None]) -> None:
    name, entry = change
    if entry is None:
        names.pop(name, None)
    else:
        names[name] = entry


class PowerLoss:
    """Replays a disk's journal, moment by moment, and lets the power fail.

    Args:
        disk: whose journal it is; it may go on.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._moment = 0
        self._files: dict[File, _FileState] = {}
        self._folders: dict[Folder, _FolderState] = {}

    def at(self, moment: int, random: Random) -> Disk:
        """A disk as it may be found when the power failed after so many events.

        Args:
            moment: not before that of the call before.
            random: decides about everything that was not durable.
        """
        for event in self._disk.journal[self._moment : moment]:
            self._replay(event)
        self._moment = moment
        found = _Found(self._files, self._folders, random)
        return Disk(found.folder(self._disk.root), self._disk.seconds)

    def _replay(self, event: Event) -> None:
        if event[0] == "write":
            self._files.setdefault(event[1], _FileState()).pending.append(event[2])
        elif event[0] == "touch":
            self._files.setdefault(event[1], _FileState()).times.append(event[2])
        elif event[0] == "name":
            self._folders.setdefault(event[1], _FolderState()).pending.append(event[2])
        elif isinstance(event[1], File):
            state = self._files.setdefault(event[1], _FileState())
            state.sync() if event[0] == "sync" else state.pending.clear()
        else:
            folder = self._folders.setdefault(event[1], _FolderState())
            folder.sync() if event[0] == "sync" else folder.fail()


class _Found:
    """One outcome of a power loss; a file with two names has one content."""

    def __init__(
        self,
        files: dict[File, _FileState],
        folders: dict[Folder, _FolderState],
        random: Random,
    ) -> None:
        self._file_states = files
        self._folder_states = folders
        self._random = random
        self._share_of_names = random.choice(SHARES)
        self._share_of_data = random.choice(SHARES)
        self._files: dict[File, File] = {}

    def folder(self, folder: Folder) -> Folder:
        """A folder as it is found, and all below it."""
        state = self._folder_states.get(folder, _FolderState())
        found = Folder()
        for name, entry in state.settle(self._share_of_names, self._random).items():
            is_folder = isinstance(entry, Folder)
            found.names[name] = self.folder(entry) if is_folder else self._file(entry)
        return found

    def _file(self, file: File) -> File:
        if file not in self._files:
            state = self._file_states.get(file, _FileState())
            content = state.settle(self._share_of_data, self._random)
            seconds = self._random.choice(state.times) if content else state.times[-1]
            self._files[file] = File(content, seconds, max(seconds, state.times[-1]))
        return self._files[file]
