"""Each call of each operation fails once in each way: a typed error, and nothing is lost.

The process lives on. Afterwards the power fails as well, so that what the failed call has left
undone is gone.
"""

import errno
import logging
from collections import Counter
from random import Random

import pytest
from campaigns import report, size
from faults import FAULTS, Fault, Faults
from operations import KINDS, Operation, Operations, go_on, held, make_index
from simulated_directory import Shelf, SimulatedDirectory
from simulated_disk import Disk, PowerLoss
from storage_tools import add, document

from weft.engine.errors import CommitUncertainError, StorageError, WriterClosedError
from weft.engine.storage.directory import SyncFailedError
from weft.engine.storage.writer import Writer

STRIDE = size(11, 1)
"""Of so many failures one is tried."""

LATER = document("later", 99)


@pytest.fixture(autouse=True)
def quiet():
    """What is logged about failed calls would fill the report."""
    logging.getLogger("weft").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("weft").setLevel(logging.NOTSET)


def prepared(name: str, shelf: Shelf) -> tuple[Disk, dict, Operation]:
    """An index with segments and tombstones, and an operation that is to be done next."""
    directory = SimulatedDirectory(shelf=shelf)
    make_index(directory, coded=name in ("convert", "compact"))
    operations = Operations(Random(name))
    before = ["add", "add", "upsert", "delete", *(["compact", "upsert"] * (name == "compact"))]
    with Writer(directory) as writer:
        for kind in before:
            operations.next(kind).perform(writer)
    state = operations.state
    return directory.disk.copy(), dict(state), operations.next(KINDS_OF.get(name, name))


KINDS_OF = {"convert": "compact"}


def fail_once(
    disk: Disk, shelf: Shelf, operation: Operation, at: int, fault: Fault
) -> tuple[SimulatedDirectory, Writer, OSError | None]:
    """Do an operation, one call of which fails; what came of it."""
    faults = Faults()
    directory = SimulatedDirectory(disk.copy(), shelf, faults)
    writer = Writer(directory)
    faults.arm(at, fault)
    try:
        operation.run(writer)
    except StorageError as error:
        return directory, writer, error
    return directory, writer, None


def check(directory: SimulatedDirectory, before: dict, operation: Operation, error) -> dict:
    """What the index holds agrees with what the operation has said."""
    found = held(directory)
    if error is None:
        assert found == operation.after
    elif isinstance(error, CommitUncertainError):
        assert found in (before, operation.after)
    else:
        assert found == before
    return found


def go_on_after(directory: SimulatedDirectory, writer: Writer, found: dict, error) -> dict:
    """The writer goes on, unless an fsync failed that it had to tell of."""
    cause = error.__cause__ if isinstance(error, CommitUncertainError) else error
    if isinstance(cause, SyncFailedError):
        with pytest.raises(WriterClosedError):
            add(writer, [LATER])
    else:
        add(writer, [LATER])
        found = found | {LATER.id: LATER}
        assert held(directory) == found
    writer.close()
    return go_on(directory, found, tidy=True)


@pytest.mark.parametrize("name", ["create", "convert", *KINDS])
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
    """Which calls are to fail, and how."""
    chosen = [(at, f) for at, (kind, _) in enumerate(calls) for f in FAULTS[kind]]
    return random.sample(chosen, len(chosen))[::STRIDE]


def fail_operation(name: str, shelf: Shelf, counts: Counter) -> None:
    disk, before, operation = prepared(name, shelf)
    directory, writer, _ = fail_once(disk, shelf, operation, 10**9, Fault(errno.EIO))
    calls = list(directory.faults.calls)
    writer.close()
    random = Random(name)
    for at, fault in failures(calls, random):
        directory, writer, error = fail_once(disk, shelf, operation, at, fault)
        hit = directory.faults.hit
        directory.faults.disarm()
        try:
            found = check(directory, before, operation, error)
            expected = go_on_after(directory, writer, found, error)
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
        except StorageError as error:
            made = isinstance(error, CommitUncertainError) and directory.exists(
                "manifest.0000000000000001.json"
            )
        counts[faults.hit[0]] += 1
        faults.disarm()
        if not made:
            make_index(directory, coded=False)
        go_on(directory, {}, tidy=True)
