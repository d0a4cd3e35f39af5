"""What a long queue costs: looks are counted, since the clock tells nothing that can be tested."""

from collections import Counter
from threading import RLock, Thread

import pytest
from hooked import applied, deliver, now, submit, upsert, waiting
from storage_tools import document, new_index

from weft.engine.storage import claims as claiming
from weft.engine.storage import sweep as sweeping
from weft.engine.storage.claims import Waiting
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import submission_name
from weft.engine.storage.sweep import sweep
from weft.engine.storage.writer import Writer

LENGTH = 3000


class Counting(LocalDirectory):
    """Counts looks at the inbox, and those during which a lock was held."""

    def __init__(self, path):
        super().__init__(path, durable=False)
        self.looks = Counter()
        self.lock = RLock()

    def _look(self, call, name):
        if name.startswith("inbox"):
            self.looks[call] += 1
            self.looks[f"{call} under the lock"] += not is_free(self.lock)

    def list(self, folder=""):
        self._look("list", folder)
        return super().list(folder)

    def status(self, name):
        self._look("status", name)
        return super().status(name)


def is_free(lock):
    """Whether another thread could take it."""
    taken = []

    def take():
        taken.append(lock.acquire(blocking=False))
        if taken[0]:
            lock.release()

    thread = Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]


@pytest.fixture
def directory(tmp_path):
    return Counting(new_index(tmp_path / "index").path)


@pytest.fixture
def writer(directory):
    with Writer(directory) as writer:
        directory.lock = writer.lock
        yield writer


@pytest.fixture
def parsed(monkeypatch):
    """Names of the inbox that were looked at."""
    names = []
    real = claiming.submission_sequence
    monkeypatch.setattr(
        claiming, "submission_sequence", lambda name: names.append(name) or real(name)
    )
    return names


@pytest.mark.parametrize("change", ["upsert", "delete"])
def test_a_change_beside_a_long_queue(writer, directory, parsed, change):
    for sequence in range(1, LENGTH + 1):
        submit(directory, sequence)
    if change == "upsert":
        upsert(writer, "a", 1)
    else:
        writer.commit([], delete=["a"])
    assert (directory.looks["list"], directory.looks["list under the lock"]) == (1, 0)
    assert len(parsed) < 5 and directory.looks["status"] < 5
    assert applied(directory) == (0, ((LENGTH + 1, LENGTH + 1),))


def test_a_sweep_beside_a_long_queue(writer, directory, parsed, monkeypatch):
    monkeypatch.setattr(sweeping, "WINDOW", 20)
    for sequence in range(1, LENGTH + 1):
        submit(directory, sequence)
    assert not sweep(writer, lease_seconds=0).committed
    assert len(parsed) < 30 and directory.looks["status"] <= 20
    assert (directory.looks["list"], directory.looks["list under the lock"]) == (1, 0)
    assert directory.looks["status under the lock"] == 0


def test_what_lies_above_the_window_is_settled_once_the_floor_has_risen(
    writer, directory, monkeypatch
):
    monkeypatch.setattr(sweeping, "WINDOW", 4)
    for sequence in (1, 2, 4, 5, 8):
        submit(directory, sequence)
    (directory.path / submission_name(6)).touch()
    report = sweep(writer, lease_seconds=0)
    assert (report.closed, report.expired) == ((3,), ())
    deliver(writer, ("a", 1, 1), ("b", 2, 2))
    report = sweep(writer, lease_seconds=0)
    assert (report.closed, report.expired) == ((7,), (6,))
    deliver(writer, ("c", 4, 4), ("d", 5, 5), ("e", 8, 8))
    assert applied(directory) == (8, ()) and waiting(directory) == []
    assert set(now(directory)) == {"a", "b", "c", "d", "e"}


def test_a_claim_of_another_thread_between_the_look_and_the_lock(writer, directory):
    """What the sweep took for a gap is applied meanwhile: the change counts, once."""
    run = sweeping._Sweep(writer, 0)
    submit(directory, 2)
    run.look()
    (directory.path / submission_name(1)).write_bytes(b"documents")
    deliver(writer, ("a", 1, 1))
    with writer.lock:
        report = run.settle()
    assert (report.closed, report.committed) == ((), False)
    deliver(writer, ("b", 2, 2))
    assert now(directory) == {"a": document("a", 1), "b": document("b", 2)}
    upsert(writer, "c", 3)
    assert applied(directory) == (3, ()) and waiting(directory) == []


def test_what_waits_between_two_sequences(directory):
    numbers = [3, 7, 8, 20, 10**9]
    for number in numbers:
        submit(directory, number)
        (directory.path / f"inbox/{number:016d}.try1").touch()
    found = Waiting(directory)
    assert list(found) == numbers and found.next_sequence == 10**9 + 1
    for first in range(25):
        for last in range(first, 25):
            assert found.between(first, last) == [n for n in numbers if first <= n <= last]
