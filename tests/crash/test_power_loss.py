"""Power losses at any moment of any operation: what was acknowledged is there, nothing torn."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest
from aftermath import go_on, held
from campaigns import FULL, report, size
from operations import KINDS, PREPARED, Operations, State, make_index, prepare
from simulated_directory import Shelf, SimulatedDirectory
from simulated_disk import Disk, PowerLoss
from storage_tools import Killed, add, document, make_batch

from weft.engine.errors import IndexNotFoundError, WeftError
from weft.engine.storage.collection import collect
from weft.engine.storage.layout import generations
from weft.engine.storage.reader import Reader
from weft.engine.storage.repair import repair
from weft.engine.storage.writer import Writer

LOSSES = size(120, 20_000)
LOSSES_PER_HISTORY = size(30, 100)
OPERATIONS_PER_HISTORY = 10


@dataclass
class History:
    """What was done to one disk.

    Args:
        directory: on the disk.
        moments: of the disk's journal at which each operation was acknowledged.
        states: what the index holds from each of these moments on.
        names: of the operations.
    """

    directory: SimulatedDirectory
    moments: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def acknowledge(self, name: str, state: State) -> None:
        self.moments.append(len(self.directory.disk))
        self.states.append(state)
        self.names.append(name)

    def at(self, moment: int) -> tuple[str, list[State]]:
        """The operation under way when the power fails, and what the index may hold.

        Nothing at all is among that before the making of the index is acknowledged.
        """
        done = sum(acknowledged <= moment for acknowledged in self.moments)
        if done == 0:
            return "create", [None, {}]
        if self.moments[done - 1] == moment:
            return "nothing", self.states[done - 1 : done]
        return self.names[done], self.states[done - 1 : done + 1]

    def moment(self, random: Random) -> int:
        """A moment in some operation, or right after it; long operations count no more."""
        number = random.randrange(len(self.moments))
        first = self.directory.disk.start if number == 0 else self.moments[number - 1]
        return random.randint(first, self.moments[number])


def make_history(random: Random, directory: SimulatedDirectory) -> History:
    """Operations one after the other, by two writers that come and go."""
    history = History(directory)
    make_index(directory, coded=random.random() < 0.7)
    history.acknowledge("create", {})
    operations = Operations(random)
    writers = [Writer(directory), Writer(directory)]
    for _ in range(OPERATIONS_PER_HISTORY):
        random.shuffle(writers)
        do_next(history, operations, *writers, overtake=random.random() < 0.2)
        directory.disk.advance(random.choice([0, 60, 7200, 2 * 86400]))
        if random.random() < 0.2:
            writers.pop().close()
            writers.append(Writer(directory))
    for writer in writers:
        writer.close()
    return history


def do_next(
    history: History, operations: Operations, writer: Writer, other: Writer, *, overtake: bool
) -> None:
    """One operation; or one that another writer does between a segment's staging and commit."""
    if not overtake:
        operation = operations.next()
        history.acknowledge(operation.perform(writer), operation.after)
        return
    late, operation = operations.overtaken()
    staged = writer.stage(make_batch(late))
    history.acknowledge(operation.perform(other), operation.after)
    writer.commit(staged, replace=True)
    history.acknowledge("overtaken", operations.state)


def survive(disk: Disk, shelf: Shelf, allowed: list[State], random: Random) -> None:
    """Open what a power loss has left, and go on working."""
    directory = SimulatedDirectory(disk, shelf)
    if None in allowed and not generations(directory):
        with pytest.raises(IndexNotFoundError):
            Reader(directory)
        make_index(directory, coded=False)
    found = held(directory)
    assert found in allowed
    moment = len(disk)
    expected = go_on(directory, found, tidy=random.random() < 0.1)
    if random.random() < 0.1:
        # The power fails again while, or after, the new writer works.
        moment = random.choice([random.randint(moment, len(disk)), len(disk)])
        again = PowerLoss(disk).at(moment, random)
        ends = [expected] if moment == len(disk) else [found, expected]
        left = held(SimulatedDirectory(again, shelf))
        assert left in ends or (
            moment < len(disk) and left == expected | {"tidy": document("tidy")}
        )


def lose(history: History, moments: list[int], random: Random, counts: Counter) -> None:
    loss = PowerLoss(history.directory.disk)
    for moment in sorted(moments):
        name, allowed = history.at(moment)
        disk = loss.at(moment, random)
        try:
            survive(disk, history.directory.shelf, allowed, random)
        except (AssertionError, WeftError, OSError) as error:
            error.add_note(f"The power failed at moment {moment} of the journal, during {name}.")
            raise
        counts[name] += 1


def test_power_losses():
    random = Random(1)
    counts: Counter[str] = Counter()
    while counts.total() < LOSSES:
        history = make_history(random, SimulatedDirectory())
        moments = [history.moment(random) for _ in range(LOSSES_PER_HISTORY)]
        lose(history, moments, random, counts)
    during = [(f"during {name}", count) for name, count in sorted(counts.items())]
    report("power losses", [("survived", counts.total()), *during])
    missed = {"nothing", "create", "convert", "overtaken", *KINDS} - set(counts)
    assert not missed or not FULL


@pytest.mark.parametrize("name", PREPARED)
def test_a_process_that_dies_after_each_write(name):
    """All that it did stays, and nothing that it would have done comes."""
    shelf = Shelf()
    directory = SimulatedDirectory(shelf=shelf)
    before, operation = prepare(name, directory)
    with Writer(directory) as writer:
        first = len(directory.disk)
        operation.run(writer)
        last = len(directory.disk)
    loss = PowerLoss(directory.disk)
    outcomes = set()
    for moment in [*range(first, last, size(7, 1)), last]:
        left = SimulatedDirectory(loss.at(moment, KeepsAll()), shelf)
        found = held(left)
        assert found in (before, operation.after)
        outcomes.add(found == operation.after)
        go_on(left, found, tidy=moment % 4 == 0)
    assert found == operation.after
    assert outcomes == ({True} if before == operation.after else {True, False})


def test_a_process_that_dies_while_an_index_is_made():
    shelf = Shelf()
    directory = SimulatedDirectory(shelf=shelf)
    first = len(directory.disk)
    make_index(directory, coded=False)
    loss = PowerLoss(directory.disk)
    for moment in range(first, len(directory.disk) + 1):
        survive(loss.at(moment, KeepsAll()), shelf, [None, {}], Random(moment))


class Dying(SimulatedDirectory):
    """Its process dies before it makes the name of a manifest durable."""

    linked = False

    def publish(self, source, name):
        super().publish(source, name)
        self.linked = name.startswith("manifest.")

    def sync_folder(self, folder=""):
        if self.linked:
            raise Killed
        super().sync_folder(folder)


@pytest.mark.parametrize("tidies", [collect, repair])
def test_what_is_tidied_behind_a_commit_that_died_before_its_fsync(tidies):
    """Nothing that was acknowledged goes before what has taken its place is certain to stay."""
    setup = SimulatedDirectory()
    make_index(setup, coded=False)
    with Writer(setup) as writer:
        add(writer, [document("acknowledged")])
    dying = Dying(setup.disk, setup.shelf)
    with pytest.raises(Killed):
        add(Writer(dying), [document("lost or not")])
    if tidies is repair:
        damage = setup._file("manifest.0000000000000001.json")
        setup.disk.write(damage, 0, b"damaged")
        setup.disk.sync(damage)
    setup.disk.advance(8000)
    first = len(setup.disk)
    tidies(setup)
    loss, random = PowerLoss(setup.disk), Random(0)
    for moment in range(first, len(setup.disk) + 1):
        for _ in range(size(20, 300)):
            left = SimulatedDirectory(loss.at(moment, random), setup.shelf)
            assert generations(left)[-1] in (2, 3)
            assert held(left).keys() in ({"acknowledged"}, {"acknowledged", "lost or not"})
    assert generations(left)[-1] == 3


class KeepsAll(Random):
    """No power was lost."""

    def choice(self, options):
        return options[-1]

    def random(self):
        return 0.0


class ForgetsFolders(SimulatedDirectory):
    """Does not sync names."""

    def sync_folder(self, folder=""):
        self._make_folders(folder)


class ForgetsFiles(SimulatedDirectory):
    """Does not sync content."""

    def create(self, name, *, durable=True):
        return super().create(name, durable=False)


@pytest.mark.parametrize("broken", [ForgetsFolders, ForgetsFiles])
def test_a_directory_without_fsync_is_caught(broken):
    random = Random(2)
    history = make_history(random, broken())
    moments = [history.moment(random) for _ in range(LOSSES_PER_HISTORY)]
    with pytest.raises((AssertionError, WeftError, OSError)):
        lose(history, moments, random, Counter())
