"""Processes that race changes on one index, some of which stop themselves at the worst moments.

Each process tells in a log of its own what it is about to do and what was acknowledged. Every
manifest that gets its name is copied aside, so that the whole history can be looked at afterwards.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import campaigns
import numpy as np
from storage_tools import document, make_batch
from submissions import submit

from weft.engine.errors import CommitUncertainError, SnapshotClosedError, StorageError
from weft.engine.storage import reader as readers
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.pins import Renewals
from weft.engine.storage.writer import Writer

RENEW_SECONDS = 0.2
GRACE = {
    "superseded_seconds": 0.0,
    "staged_seconds": campaigns.size(15, 40) / 10,
    "pin_seconds": campaigns.size(15, 40) / 10,
}
"""Periods of a race, short enough for a stopped process to outlive them."""

SHARED = [f"shared-{n}" for n in range(8)]

MOMENTS = ("staged", "claimed", "before the link", "after the link")
"""Where a process can be stopped."""


@dataclass(frozen=True, slots=True)
class Racer:
    """One process of a race.

    Args:
        path: of the index.
        aside: folder for copies of manifests and for logs.
        name: of the process, the first part of its documents' ids.
        n_commits: changes it makes.
        stops: number of a change -> the moment within it at which the process stops itself.
        tidies: whether it compacts and collects now and then.
        queued: whether it submits its changes to the inbox and applies them out of order, some of
            them twice.
    """

    path: str
    aside: str
    name: str
    n_commits: int
    stops: Mapping[int, str] = field(default_factory=dict)
    tidies: bool = False
    queued: bool = False


class ObservedDirectory(LocalDirectory):
    """Copies each manifest aside that gets its name, and stops the process at a moment.

    Args:
        path: of the index.
        aside: folder of the copies, `<generation>.<commit uuid>.json`.
    """

    def __init__(self, path: str, aside: str) -> None:
        super().__init__(path, durable=False)
        self._aside = Path(aside)
        self.stop_at: str | None = None
        self.linked: tuple[int, str] | None = None

    def _reach(self, moment: str) -> None:
        if self.stop_at == moment:
            self.stop_at = None
            os.kill(os.getpid(), signal.SIGSTOP)

    def publish(self, source: str, name: str) -> None:
        if not name.startswith("manifest."):
            super().publish(source, name)
            return
        self._reach("before the link")
        data = self.read(source)
        super().publish(source, name)
        manifest = json.loads(data)
        self.linked = manifest["generation"], manifest["commit_uuid"]
        copy = self._aside / f"{self.linked[0]:016d}.{self.linked[1]}.json"
        copy.write_bytes(data)
        self._reach("after the link")

    @contextmanager
    def create(self, name: str, *, durable: bool = True) -> Iterator[Any]:
        with super().create(name, durable=durable) as file:
            yield file
        if name.startswith("inbox/"):
            self._reach("claimed")

    def sync_folder(self, folder: str = "") -> None:
        super().sync_folder(folder)
        if folder == "segments":
            self._reach("staged")


class Log:
    """Lines of JSON that survive the death of their process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, **line: Any) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


def race(racer: Racer) -> None:
    """What a process does from its start to its end."""
    readers.Renewals = partial(Renewals, seconds=RENEW_SECONDS)
    directory = ObservedDirectory(racer.path, racer.aside)
    log = Log(Path(racer.aside) / f"{racer.name}.log")
    random = Random(racer.name)
    with Writer(directory, threads=1) as writer:
        if racer.queued:
            _race_queued(racer, writer, log, random)
            return
        for number in range(racer.n_commits):
            directory.stop_at = racer.stops.get(number)
            change = _change(racer.name, number, random)
            _acknowledged(directory, log, [change], partial(_commit, writer, change))
            if racer.tidies and number % 8 == 7:
                _acknowledged(directory, log, [], partial(_compact, writer))


def _race_queued(racer: Racer, writer: Writer, log: Log, random: Random) -> None:
    """Submit a few changes; apply them in another order, by twos, again where that failed."""
    for first in range(0, racer.n_commits, 6):
        waiting = [_change(racer.name, n, random) for n in range(first, first + 6)]
        for change in waiting:
            change["sequence"] = submit(writer, json.dumps(change).encode())
        random.shuffle(waiting)
        while waiting:
            together, waiting = waiting[:2], waiting[2:]
            apply = partial(_commit_queued, writer, together)
            while not _acknowledged(writer.directory, log, together, apply):
                pass
            if random.random() < 0.2:
                waiting.append(together[0])


def _commit_queued(writer: Writer, changes: Sequence[dict[str, Any]]) -> int:
    staged = []
    for change in changes:
        batch = make_batch([document(id, change["version"]) for id in change["put"]])
        sequences = np.full(len(change["put"]), change["sequence"], dtype=np.uint64)
        staged.append(writer.stage(batch, sequences=sequences))
    ordered = sorted(changes, key=lambda change: change["sequence"])
    delete = {id: change["sequence"] for change in ordered for id in change["delete"]}
    completed = [change["sequence"] for change in changes]
    return writer.commit_queued(staged, delete=delete, completed=completed).generation


def _change(name: str, number: int, random: Random) -> dict[str, Any]:
    """A change as JSON: ids to be put, with their version, and ids to be deleted."""
    version = random.randrange(1, 2**31)
    put = [f"{name}-{number}", f"{name}-{number}-gone"]
    if number % 2:
        put = [f"{name}-{number - 1}", *random.sample(SHARED, 2)]
    delete = [f"{name}-{number - 1}-gone"] if number % 3 == 0 else []
    delete += random.sample([id for id in SHARED if id not in put], number % 2)
    if number > 20:
        delete += [f"{name}-{number - 20}", f"{name}-{number - 20}-gone"]
    return {"put": put, "version": version, "delete": delete}


def _commit(writer: Writer, change: dict[str, Any]) -> int:
    documents = [document(id, change["version"]) for id in change["put"]]
    replace = any(id in SHARED for id in change["put"])
    staged = [writer.stage(make_batch(part)) for part in (documents[:1], documents[1:])]
    return writer.commit(staged, delete=change["delete"], replace=replace).generation


def _compact(writer: Writer) -> int:
    generation = compact(writer).generation
    writer.collect(**GRACE)
    return generation


def _acknowledged(
    directory: ObservedDirectory,
    log: Log,
    changes: Sequence[Mapping[str, Any]],
    act: Callable[[], int],
) -> bool:
    """Run a commit, and tell before and afterwards; whether it did not fail."""
    directory.linked = None
    log.write(say="begin", changes=changes)
    try:
        generation = act()
    except CommitUncertainError as error:
        log.write(say="uncertain", linked=directory.linked, error=str(error))
    except (StorageError, SnapshotClosedError) as error:
        log.write(say="failed", linked=directory.linked, error=repr(error))
        return False
    else:
        log.write(say="done", linked=directory.linked, generation=generation)
    return True
