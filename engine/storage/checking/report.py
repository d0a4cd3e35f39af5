"""What a check has found and what a repair has done."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Damage:
    """One place that is not what was written.

    Args:
        file: name within the index.
        offset: first damaged byte, to the block of 64 KiB; None where it is the whole file, or
            its structure.
        size_bytes: length of the damaged part; None where that is not known.
        problem: what is wrong.
        loses: what cannot be relied on any more.
        segment: id of the segment that the file belongs to, else None.
        unreadable: the disk failed to read it, so that another attempt may yet succeed.
    """

    file: str
    offset: int | None
    size_bytes: int | None
    problem: str
    loses: str
    segment: str | None = None
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class LostDocuments:
    """The documents of one segment that cannot be relied on.

    Args:
        segment: its id.
        ids: of the documents, as far as an intact source names them.
        n_unnamed: how many more there are.
        cause: the damaged file.
    """

    segment: str
    ids: tuple[str, ...]
    n_unnamed: int
    cause: str

    @property
    def n_documents(self) -> int:
        """How many documents, named or not."""
        return len(self.ids) + self.n_unnamed


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of a check.

    Args:
        path: of the index.
        generation: that was checked: the newest one that can be read.
        newest_generation: the highest that is there; above `generation` where its manifest, and
            what was committed with it, cannot be read.
        damage: everything that was found, by file.
        lost: the documents that `repair` would drop, by segment.
        n_may_reappear: at most so many deleted or replaced documents would be alive again after
            a repair, since the file that knew of them is damaged.
        notes: what is no damage but worth knowing, such as files that no generation names.
        n_files: files that were read.
        checked_bytes: their length.
    """

    path: str
    generation: int
    newest_generation: int
    damage: tuple[Damage, ...]
    lost: tuple[LostDocuments, ...] = ()
    n_may_reappear: int = 0
    notes: tuple[str, ...] = ()
    n_files: int = 0
    checked_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage

    @property
    def n_lost(self) -> int:
        """Documents that a repair would drop."""
        named = {id for part in self.lost for id in part.ids}
        return len(named) + sum(part.n_unnamed for part in self.lost)


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair has done.

    Args:
        check: what was found before.
        repaired: whether anything was done; False where nothing was damaged.
        generation: the newest one afterwards.
        dropped_segments: ids.
        dropped_codecs: ids.
        aside: damaged manifests of older generations, which are collected with these.
    """

    check: CheckReport
    repaired: bool
    generation: int
    dropped_segments: tuple[str, ...] = ()
    dropped_codecs: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[LostDocuments, ...]:
        """The documents that are gone, by segment."""
        return self.check.lost

    @property
    def n_lost(self) -> int:
        """Documents that are gone."""
        return self.check.n_lost


@dataclass(slots=True)
class Findings:
    """Collects what a check finds."""

    damage: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_files: int = 0
    checked_bytes: int = 0

    def add(
        self,
        file: str,
        problem: str,
        loses: str,
        *,
        offset: int | None = None,
        size_bytes: int | None = None,
        segment: str | None = None,
        unreadable: bool = False,
    ) -> None:
        """Note a damaged place."""
        found = Damage(file, offset, size_bytes, problem, loses, segment, unreadable)
        self.damage.append(found)

    def read(self, size_bytes: int) -> None:
        """Count a file."""
        self.n_files += 1
        self.checked_bytes += size_bytes
