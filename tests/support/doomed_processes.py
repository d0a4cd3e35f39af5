"""Runs operations in forked processes that are killed, or whose system calls fail.

Run as a program with `system_calls.c` preloaded: a process that has imported everything forks
children that live for milliseconds. It prints what it has counted as JSON.

    python doomed_processes.py kill|fail|random FOLDER COUNT_OR_STRIDE
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import system_calls
from aftermath import go_on, go_on_after, held, held_after
from operations import PREPARED, Operation, Operations, State, make_index, prepare

from weft.engine.errors import StorageError
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.writer import Writer

Say = Callable[[str], None]

LONGEST_SECONDS = 0.08
"""A process that is killed at random lives no longer."""


class Child:
    """A forked process, and what it says through a pipe before it ends."""

    def __init__(self, live: Callable[[Say], None]) -> None:
        self._output, inside = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_live(live, inside))
        os.close(inside)

    def end(self) -> tuple[list[str], int]:
        """What it said, once it has ended, and its exit status; negative for a signal."""
        with os.fdopen(self._output) as output:
            lines = output.read().splitlines()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert status in (0, -signal.SIGKILL), "\n".join(lines)
        return lines, status


def _live(live: Callable[[Say], None], pipe: int) -> int:
    def say(line: str) -> None:
        os.write(pipe, f"{line}\n".encode())

    try:
        live(say)
    except BaseException:  # noqa: BLE001 whatever it is, the parent must learn of it
        say(traceback.format_exc())
        return 1
    return 0


def local(path: Path) -> LocalDirectory:
    """A directory whose fsyncs are calls like others, in memory and so for free."""
    return LocalDirectory(path)


def template(name: str, folder: Path) -> tuple[Path, State, Operation]:
    """An index on which an operation is to be done, over and over."""
    path = folder / name
    return path, *prepare(name, local(path))


def fresh(made: Path) -> Path:
    """A copy of a template."""
    path = made.parent / "index"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(made, path)
    return path


def count_calls(made: Path, operation: Operation) -> list[str]:
    """The calls of an operation with its writer, from opening to closing."""
    path = fresh(made)

    def live(say: Say) -> None:
        system_calls.arm(path)
        with Writer(local(path)) as writer:
            operation.run(writer)
        calls = system_calls.names()
        system_calls.disarm()
        say(json.dumps(calls))

    return json.loads(Child(live).end()[0][0])


def kill_after_each_call(folder: Path, stride: int) -> Counter[str]:
    """Kill an operation after each of its calls, and halfway through each write."""
    counts: Counter[str] = Counter()
    for name in PREPARED:
        made, before, operation = template(name, folder)
        calls = count_calls(made, operation)
        deaths = [(at, system_calls.DIE_AFTER) for at in range(len(calls))]
        deaths += [
            (at, system_calls.DIE_HALFWAY)
            for at, call in enumerate(calls)
            if call in system_calls.WRITES
        ]
        for at, mode in deaths[::stride]:
            try:
                kill_at(fresh(made), before, operation, at, mode)
            except BaseException as error:
                error.add_note(f"{name} was killed at its call {at}, {calls[at]}")
                raise
            counts[name] += 1
    return counts


def kill_at(path: Path, before: State, operation: Operation, at: int, mode: int) -> None:
    def live(say: Say) -> None:
        system_calls.arm(path, at, mode)
        with Writer(local(path)) as writer:
            operation.run(writer)
            say("acknowledged")

    lines, status = Child(live).end()
    found = held(local(path))
    assert found == operation.after or (not lines and found == before)
    assert status < 0, "it was not killed"
    go_on(local(path), found, tidy=at % 4 == 0)


ERRORS = (errno.EIO, errno.ENOSPC)


def fail_each_call(folder: Path, stride: int) -> Counter[str]:
    """Let each call of an operation fail, and each write be short."""
    counts: Counter[str] = Counter()
    for name in PREPARED:
        made, before, operation = template(name, folder)
        calls = count_calls(made, operation)
        failures = [(at, system_calls.FAIL, e) for at in range(len(calls)) for e in ERRORS]
        failures += [
            (at, system_calls.SHORT, 0)
            for at, call in enumerate(calls)
            if call in system_calls.WRITES
        ]
        for at, mode, error in failures[::stride]:
            try:
                fail_at(fresh(made), before, operation, (at, mode, error))
            except BaseException as caught:
                caught.add_note(f"{name}: its call {at}, {calls[at]}, failed with {error}")
                raise
            counts[name] += 1
    return counts


def fail_at(path: Path, before: State, operation: Operation, failure: tuple[int, int, int]) -> None:
    def live(say: Say) -> None:
        raised = None
        system_calls.arm(path, *failure)
        writer = Writer(local(path))
        try:
            operation.run(writer)
        except StorageError as error:
            raised = error
        system_calls.disarm()
        found = held_after(local(path), before, operation, raised)
        go_on_after(local(path), writer, found, raised, tidy=failure[0] % 4 == 0)
        say("survived")

    lines, status = Child(live).end()
    assert (lines, status) == (["survived"], 0)


def kill_at_random(folder: Path, count: int) -> Counter[str]:
    """Kill a process that does one operation after the other, again and again on one index."""
    random = Random(3)
    path = folder / "index"
    make_index(local(path), coded=True)
    state: State = {}
    counts: Counter[str] = Counter()
    for number in range(count):
        done, state = live_and_die(path, state, number, random.uniform(0, LONGEST_SECONDS))
        counts["operations acknowledged"] += done
        if number % 10 == 0:
            state = go_on(local(path), state, tidy=True)
        counts["kills"] += 1
    return counts


def live_and_die(path: Path, state: State, number: int, seconds: float) -> tuple[int, State]:
    """Kill a process after a time; how many operations it has done, and what the index holds."""

    def operations() -> Operations:
        return Operations(Random(number), state, version=1000 * number)

    def live(say: Say) -> None:
        made = operations()
        with Writer(local(path)) as writer:
            while True:
                made.next().run(writer)
                say("acknowledged")

    child = Child(live)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL)
    done = len(child.end()[0])
    made = operations()
    states = [state, *(made.next().after for _ in range(done + 1))]
    found = held(local(path))
    assert found in states[done:], f"process {number}, after {done} operations"
    return done, found


def main() -> None:
    kind, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    logging.getLogger("weft").setLevel(logging.CRITICAL)
    campaigns = {"kill": kill_after_each_call, "fail": fail_each_call, "random": kill_at_random}
    print(json.dumps(campaigns[kind](folder, number)))


if __name__ == "__main__":
    main()
