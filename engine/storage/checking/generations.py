"""Manifests: which generation is checked, and what else lies in the index."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...errors import CorruptIndexError, IndexNotFoundError, StorageError
from ..directory import NAME, TEMPORARY, Directory
from ..disk_errors import is_media_error
from ..files import own_names
from ..generation import read_manifest
from ..layout import (
    CODECS,
    DAMAGED,
    FOLDERS,
    INBOX,
    SEGMENTS,
    TOMBSTONES,
    damaged_generations,
    generations,
    manifest_name,
)
from ..manifest import Manifest
from ..pins import Renewals, remove_pin, renew, write_pin
from .report import Findings

ONLY_OLDER: Final = "an older generation; the newest does not need it"


class Pin:
    """Keeps a generation from being collected while it is checked."""

    def __init__(self, directory: Directory, generation: int) -> None:
        self._directory = directory
        self._generation = generation
        self._name = write_pin(directory, generation)
        self._renewals = None if self._name is None else Renewals(self)

    def renew(self) -> bool:
        """Renew the pin, unless its generation was collected; called regularly."""
        if self._name is not None and not renew(self._directory, self._name):
            self._name = write_pin(self._directory, self._generation)
            if not self._directory.exists(manifest_name(self._generation)):
                remove_pin(self._directory, self._name)
                self._name = None
        return self._name is not None

    def close(self) -> None:
        """Let go of the generation."""
        if self._renewals is not None:
            self._renewals.stop()
        remove_pin(self._directory, self._name)
        self._name = None


class Manifests:
    """All manifests of an index, read once.

    Args:
        directory: of the index.

    Attributes:
        present: generations whose manifests are there, ascending.
        readable: the sound ones, by generation.
        damaged: problem of each manifest that is not sound.
        unreadable: those of them that the disk failed to read.
        aside: those that a repair has dealt with.

    Raises:
        IndexNotFoundError: there is no index.
        UnsupportedFormatError: a newer Weft wrote one of them.
        CorruptIndexError: none of them can be read.
    """

    def __init__(self, directory: Directory) -> None:
        self.present = generations(directory)
        if not self.present:
            raise IndexNotFoundError(f"{directory} holds no Weft index: check the path.")
        self.readable: dict[int, Manifest] = {}
        self.damaged: dict[int, str] = {}
        self.unreadable: set[int] = set()
        self.aside = frozenset(damaged_generations(directory))
        for number in self.present:
            self._read(directory, number)
        if not self.readable and self.damaged:
            raise CorruptIndexError(
                f"{directory}: no manifest can be read, and nothing else tells what belongs to "
                f"the index ({'; '.join(self.damaged.values())}): restore it from a copy."
            )

    def _read(self, directory: Directory, number: int) -> None:
        try:
            self.readable[number] = read_manifest(directory, number)
        except FileNotFoundError:
            return
        except (CorruptIndexError, StorageError) as error:
            if isinstance(error, StorageError):
                if not is_media_error(error):
                    raise
                self.unreadable.add(number)
            text = str(error).removeprefix(manifest_name(number)).lstrip(": ")
            self.damaged[number] = text.partition(": restore")[0].rstrip(".")

    @property
    def newest(self) -> int:
        """The newest generation that can be read."""
        return max(self.readable, default=0)

    def tell(self, findings: Findings) -> None:
        """Note what is damaged."""
        for number, problem in sorted(self.damaged.items()):
            loses = ONLY_OLDER
            if number < self.newest and number in self.aside:
                findings.notes.append(
                    f"{manifest_name(number)} is damaged, a repair has dealt with it, and it is "
                    "collected in time."
                )
                continue
            if number > self.newest:
                loses = f"what was committed after generation {self.newest}"
            unreadable = number in self.unreadable
            findings.add(manifest_name(number), problem, loses, unreadable=unreadable)
        # No damage: a writer that slept through a collection may leave a manifest far below.
        n_missing = self.present[-1] - self.present[0] + 1 - len(self.present)
        if n_missing:
            findings.notes.append(
                f"{n_missing:,} generations between the oldest manifest and the newest have none."
            )


def tell_unnamed(directory: Directory, manifests: Iterable[Manifest], findings: Findings) -> None:
    """Note what no readable generation names: staged, left behind, or not Weft's."""
    named = {name for manifest in manifests for name in named_files(manifest)}
    found = [
        name for folder in (SEGMENTS, CODECS, TOMBSTONES) for name in own_names(directory, folder)
    ]
    unnamed = [name for name in found if name not in named]
    unnamed += [name for name in directory.list() if name.startswith(TEMPORARY)]
    if unnamed:
        findings.notes.append(
            f"{_count(unnamed, 'file or folder', 'files or folders')} that no generation names, "
            f"such as {unnamed[0]}: staged by a writer or left behind, and collected in time."
        )
    waiting = [name for name in own_names(directory, INBOX) if name[-1:].isdigit()]
    if waiting:
        findings.notes.append(f"{_count(waiting, 'change', 'changes')} in the inbox.")
    foreign = [name for name in directory.list() if _is_foreign(name)]
    if foreign:
        findings.notes.append(
            f"{_count(foreign, 'file', 'files')} that is not Weft's, such as {foreign[0]!r:.80}."
        )


def named_files(manifest: Manifest) -> set[str]:
    """Names of the files and folders that a generation needs."""
    names = {f"{SEGMENTS}/{ref.id}" for ref in manifest.segments}
    names |= {f"{TOMBSTONES}/{ref.id}.safetensors" for ref in manifest.tombstones}
    return names | {f"{CODECS}/{ref.id}" for ref in manifest.codecs}


def _is_foreign(name: str) -> bool:
    ours = name in FOLDERS or name.startswith((TEMPORARY, DAMAGED, "manifest."))
    return not (ours and NAME.fullmatch(name))


def _count(names: list[str], one: str, many: str) -> str:
    return f"{len(names):,} {one if len(names) == 1 else many}"
