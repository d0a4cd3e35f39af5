"""One engine in a process of its own: commands come as lines of JSON, answers go back as such.

Started by `benchmarks.peers.process` with the interpreter of the engine's environment. Whatever
the engine prints goes to standard error, so that standard output holds answers only.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

from .engines.base import Data, Engine

Message = dict[str, Any]

WARM_SECONDS: Final = 0.5
"""Untimed searches before those of a setting are timed, as far as its queries go."""


def peak_memory() -> dict[str, int]:
    """Peak resident bytes of this process, mapped files included, and anonymous ones now."""
    fields = {"VmHWM": "peak_bytes", "RssAnon": "anonymous_bytes"}
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in fields:
            found[fields[name]] = int(rest.split()[0]) * 1024
    return found


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Worker:
    """Carries out commands: `build`, or `open` and then `measure` any number of times."""

    def __init__(self, engine: Engine, data: Data, folder: Path, options: Message) -> None:
        self.engine, self.data, self.folder, self.options = engine, data, folder, options

    def build(self, threads: int) -> Message:
        """Make the index; its time is that of the engine, without starting Python."""
        wall, cpu = time.perf_counter(), processor_seconds()
        self.engine.build(self.data, self.folder, self.options, threads)
        return {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": processor_seconds() - cpu,
            "index_bytes": self.engine.index_bytes(self.data, self.folder),
            **peak_memory(),
        }

    def open(self) -> Message:
        """Open the index and bring the queries into the engine's form."""
        wall = time.perf_counter()
        self.engine.open(self.data, self.folder, self.options)
        seconds = time.perf_counter() - wall
        self.queries = [self.engine.prepare(query) for query in self.data.queries]
        return {"seconds": seconds}

    def warm_up(self, k: int, parameters: Message, queries: list[int]) -> None:
        """Search untimed: what lay idle while others had their turns may be paged out."""
        until = time.perf_counter() + WARM_SECONDS
        for number in reversed(queries):
            self.engine.search(self.queries[number], k, parameters)
            if time.perf_counter() > until:
                return

    def measure(self, k: int, parameters: Message, queries: list[int]) -> Message:
        """Search for these queries one by one, after some of them untimed."""
        search, clock, cpu_clock = self.engine.search, time.perf_counter_ns, time.process_time_ns
        self.warm_up(k, parameters, queries)
        wall, cpu, answers = [], [], []
        for number in queries:
            query = self.queries[number]
            cpu_before, before = cpu_clock(), clock()
            answer = search(query, k, parameters)
            after, cpu_after = clock(), cpu_clock()
            wall.append((after - before) / 1e6)
            cpu.append((cpu_after - cpu_before) / 1e6)
            answers.append(self.engine.numbers(answer))
        return {"wall_ms": wall, "cpu_ms": cpu, "answers": answers, **peak_memory()}


def carry_out(worker: Worker, message: Message) -> Message:
    """The answer to one command; a failure is an answer too."""
    commands: dict[str, Callable[..., Message]] = {
        "build": worker.build,
        "open": worker.open,
        "measure": worker.measure,
    }
    try:
        return commands[message.pop("command")](**message)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is reported, not lost
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def private_output() -> TextIO:
    """Standard output, for answers alone: whatever else prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def main() -> int:
    """Serve commands until standard input ends."""
    engine, data, folder, options, core = sys.argv[1:]
    answers = private_output()
    if core != "all":
        os.sched_setaffinity(0, {int(core)})
    module = importlib.import_module(f".engines.{engine}", __package__)
    worker = Worker(module.Engine(), Data(Path(data)), Path(folder), json.loads(options))
    for line in sys.stdin:
        print(json.dumps(carry_out(worker, json.loads(line))), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
