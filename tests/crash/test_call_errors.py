"""Each call of each operation fails once in each way: a typed error, and nothing is lost.

An interrupt before and after each call is one of the ways.

The process lives on. Afterwards the power fails as well, so that what the failed call has left
undone is gone.
"""

import errno
import logging
from collections import Counter
from random import Random

import pytest
from aftermath import go_on, go_on_after, held, held_after
from campaigns import report, size
from faults import FAULTS, INTERRUPTS, Fault, Faults
from operations import PREPARED, Operation, make_index, prepare
from simulated_directory import Shelf, SimulatedDirectory
from simulated_disk import Disk, PowerLoss

from weft.engine.errors import CommitUncertainError, StorageError
from weft.engine.storage.layout import generations
from weft.engine.storage.writer import Writer

STRIDE = size(61, 1)
"""Of so many failures one is tried; those of publishing always."""


@pytest.fixture(autouse=True)
def quiet():
    """What is logged about failed calls would fill the report."""
    logging.getLogger("weft").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("weft").setLevel(logging.NOTSET)


def fail_once(
    disk: Disk, shelf: Shelf, operation: Operation, at: int, fault: Fault
) -> tuple[SimulatedDirectory, Writer, BaseException | None]:
    """Do an operation, one call of which fails; what came of it."""
    faults = Faults()
    directory = SimulatedDirectory(disk.copy(), shelf, faults)
    writer = Writer(directory)
    faults.arm(at, fault)
    try:
        operation.run(writer)
    except (StorageError, KeyboardInterrupt) as error:
        return directory, writer, error
    return directory, writer, None


@pytest.mark.parametrize("name", ["create", *PREPARED])
def test_each_call_fails_once(name):
    counts: Counter[str] = Counter()
    shelf = Shelf()
    if name == "create":
        fail_creation(shelf, counts)
    else:
        fail_operation(name, shelf, counts)
    kinds = [(f"in {kind}", count) for kind, count in sorted(counts.items())]
    report(f"calls of {name} that failed", [("in all", counts.total()), *kinds])
    assert {"create", "sync"} <= set(counts) or STRIDE > 1


def failures(calls, random: Random):
    """Which calls are to fail, and how; of the link that publishes, all ways."""
    chosen = [(at, f) for at, (kind, _) in enumerate(calls) for f in (*FAULTS[kind], *INTERRUPTS)]
    shuffled = random.sample(chosen, len(chosen))
    return [c for n, c in enumerate(shuffled) if n % STRIDE == 0 or calls[c[0]][0] == "publish"]


def fail_operation(name: str, shelf: Shelf, counts: Counter) -> None:
    made = SimulatedDirectory(shelf=shelf)
    before, operation = prepare(name, made)
    disk = made.disk.copy()
    directory, writer, _ = fail_once(disk, shelf, operation, 10**9, Fault(errno.EIO))
    calls = list(directory.faults.calls)
    writer.close()
    random = Random(name)
    for at, fault in failures(calls, random):
        directory, writer, error = fail_once(disk, shelf, operation, at, fault)
        hit = directory.faults.hit
        directory.faults.disarm()
        try:
            found = held_after(directory, before, operation, error)
            expected = go_on_after(directory, writer, found, error, tidy=at % 4 == 0)
            loss = PowerLoss(directory.disk).at(len(directory.disk), random)
            assert held(SimulatedDirectory(loss, shelf)) == expected
        except BaseException as caught:
            caught.add_note(f"call {at} of {name}, {hit}, failed with {fault}; it raised {error!r}")
            raise
        counts[hit[0] if hit else "none"] += 1


def fail_creation(shelf: Shelf, counts: Counter) -> None:
    """An index that could not be made can be made afterwards, unless it was made after all."""
    faults = Faults()
    make_index(SimulatedDirectory(shelf=shelf, faults=faults), coded=False)
    for at, fault in failures(list(faults.calls), Random(0)):
        faults = Faults()
        directory = SimulatedDirectory(shelf=shelf, faults=faults)
        faults.arm(at, fault)
        made = True
        try:
            make_index(directory, coded=False)
        except (StorageError, KeyboardInterrupt) as error:
            made = isinstance(error, CommitUncertainError | KeyboardInterrupt)
        counts[faults.hit[0]] += 1
        faults.disarm()
        if not made or not generations(directory):
            make_index(directory, coded=False)
        go_on(directory, {}, tidy=True)
