"""Processes that race commits, some stopped past their turn: nothing is lost, nothing is torn."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import campaigns
import pytest
from racing import GRACE, MOMENTS, RENEW_SECONDS, SHARED, Racer, race
from scratch import scratch_folder
from storage_tools import contents, document, new_index

from weft.engine.errors import CorruptIndexError, SnapshotClosedError
from weft.engine.storage import reader as readers
from weft.engine.storage.collection import collect
from weft.engine.storage.generation import newest_generation
from weft.engine.storage.layout import manifest_name
from weft.engine.storage.manifest_decoding import decode_manifest
from weft.engine.storage.pins import Renewals
from weft.engine.storage.reader import Reader

N_PROCESSES = campaigns.size(4, 8)
N_COMMITS = campaigns.size(20, 200)
STOPPED_GENERATIONS = campaigns.size(5, 40)
"""How far the others get while a process is stopped."""


@pytest.fixture
def folder():
    folder = scratch_folder()
    (folder / "aside").mkdir()
    yield folder
    shutil.rmtree(folder)


def racers(folder):
    """The first two stop themselves at each moment, by turns; two tidy up; one is a queue."""
    step = max(1, N_COMMITS // (len(MOMENTS) + 1))
    stops = {(n + 1) * step: moment for n, moment in enumerate(MOMENTS)}
    of_first = dict(list(stops.items())[::2])
    of_second = dict(list(stops.items())[1::2])
    return [
        Racer(
            path=str(folder / "index"),
            aside=str(folder / "aside"),
            name=f"p{n}",
            n_commits=N_COMMITS,
            stops={0: of_first, 1: of_second}.get(n, {}),
            tidies=n in (1, 2),
            queued=n == 3,
        )
        for n in range(N_PROCESSES)
    ]


@pytest.mark.parametrize("below", [10**9, 200] if campaigns.FULL else [200])
def test_racing_processes(folder, below, monkeypatch):
    monkeypatch.setattr(readers, "Renewals", partial(Renewals, seconds=RENEW_SECONDS))
    directory = new_index(folder / "index", flat_below_tokens=below)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=race, args=(racer,)) for racer in racers(folder)]
    try:
        for process in processes:
            process.start()
        n_stops = watch(directory, processes)
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    history = History(folder / "aside")
    history.check()
    check_end(directory, history.expected())
    campaigns.report(
        f"races, {'flat' if below > 200 else 'coded'}",
        [
            (f"commits by {N_PROCESSES} processes", len(history.winners)),
            ("stops past the turn", n_stops),
            *((f"changes that ended as {what}", count) for what, count in history.ends.items()),
        ],
    )


def watch(directory, processes):
    """Read all the while, and continue the process that has stopped itself; how often it was."""
    stopped, n_stops = {}, 0
    while any(process.is_alive() for process in processes):
        newest = look(directory)
        for process in processes:
            if process.is_alive() and is_stopped(process.pid):
                since, generation = stopped.setdefault(process.pid, (time.monotonic(), newest))
                others = any(p.is_alive() and not is_stopped(p.pid) for p in processes)
                late = time.monotonic() - since > GRACE["pin_seconds"] + 0.5
                if late and (newest >= generation + STOPPED_GENERATIONS or not others):
                    collect(directory, **GRACE)
                    del stopped[process.pid]
                    n_stops += 1
                    os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.1)
    return n_stops


def look(directory):
    """Read the newest generation whole, and tell which it is."""
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        generation = snapshot.generation
        try:
            contents(snapshot)
        except (CorruptIndexError, SnapshotClosedError):
            # On a busy machine its pin may have expired; then its manifest was collected.
            if directory.exists(manifest_name(generation)):
                raise
    return generation


def is_stopped(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] == "T"


class History:
    """What the processes were told, and every manifest that ever had its name."""

    def __init__(self, aside):
        self.manifests = {}
        for path in sorted(aside.glob("*.json")):
            manifest = decode_manifest(path.read_bytes(), path.name)
            self.manifests[manifest.generation, manifest.commit_uuid] = manifest
        self.winners, self.changes, self.unknown = {}, {}, {}
        self.ends = Counter()
        for path in sorted(aside.glob("*.log")):
            self._read(path)
        self._settle_unknown()

    def _read(self, path):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(lines) % 2 == 0, f"{path.stem} ended within a change"
        for begin, end in zip(lines[::2], lines[1::2], strict=True):
            self.ends[end["say"]] += 1
            linked = None if end["linked"] is None else tuple(end["linked"])
            assert end["say"] != "failed" or linked is None
            if end["say"] == "done" and linked is not None:
                assert linked[0] == end["generation"]
                assert linked[0] not in self.winners, f"two winners of generation {linked[0]}"
                self.winners[linked[0]] = linked
                self.changes[linked[0]] = begin["changes"]
            elif end["say"] == "uncertain" and linked is not None:
                self.unknown[linked] = begin["changes"]

    def _settle_unknown(self):
        """A change of unknown outcome took place if nobody else was told of its generation."""
        for (generation, uuid), changes in self.unknown.items():
            if generation not in self.winners:
                self.winners[generation] = generation, uuid
                self.changes[generation] = changes

    def check(self):
        """One winner per generation, each built on the one before it, nothing unapplied again."""
        generations = sorted(self.winners)
        assert generations == list(range(2, generations[-1] + 1))
        assert {number for number, _ in self.manifests} == set(generations)
        for before, after in pairwise(self.manifests[self.winners[n]] for n in generations):
            assert before.index_uuid == after.index_uuid
            assert before.next_sequence <= after.next_sequence
            assert applied(before) <= applied(after)

    def operations(self):
        """Every acknowledged operation on a document: its sequence, its id, its version if put."""
        before = set()
        for generation in sorted(self.winners):
            manifest = self.manifests[self.winners[generation]]
            new, before = applied(manifest) - before, applied(manifest)
            for change in self.changes[generation]:
                # An embedded change may apply claims along with its own that it gave up earlier.
                sequence = change.get("sequence") or max(new)
                for rank, part in enumerate(("delete", "put")):
                    for id in change[part]:
                        version = change["version"] if part == "put" else None
                        yield sequence, rank, id, version

    def expected(self):
        """The documents: of each the last operation counts."""
        last = {}
        for _, _, id, version in sorted(self.operations(), key=lambda o: o[:2]):
            last[id] = version
        return {id: document(id, v) for id, v in last.items() if v is not None}


def applied(manifest):
    """The sequences that a generation has applied."""
    above = (range(first, last + 1) for first, last in manifest.applied_above)
    return set(range(1, manifest.applied_floor + 1)).union(*above)


def check_end(directory, expected):
    """The index holds what was acknowledged, all of it sound, and nothing else is left."""
    collect(directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0)
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert contents(snapshot) == expected
        assert any(id in expected for id in SHARED)
        for view in snapshot.segments:
            view.files.verify()
        assert snapshot.generation == newest_generation(directory)
        named = {ref.id for ref in snapshot.manifest.segments}
    assert set(directory.list("segments")) == named
