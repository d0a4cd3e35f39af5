"""Processes killed at random moments and after each system call, and calls that fail there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import system_calls
from campaigns import lines, report, size
from scratch import scratch_folder

PROGRAM = Path(system_calls.__file__).with_name("doomed_processes.py")

ONE_THREAD = ("WEFT_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""A forked process has none of its parent's threads, and some libraries would wait for them."""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    reason = system_calls.missing()
    if reason:
        lines.append(f"Nothing was killed at system calls: {reason}.")
        pytest.skip(reason)
    return system_calls.build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def folder():
    """In memory where that is possible, since no disk is needed to lose a process."""
    made = scratch_folder()
    yield made
    shutil.rmtree(made)


def run(library, folder, kind: str, number: int) -> dict[str, int]:
    """Run a campaign in a process of its own; what it has counted."""
    environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
    paths = [str(PROGRAM.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment |= {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(PROGRAM), kind, str(folder), str(number)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_after_each_system_call(library, folder):
    counts = run(library, folder, "kill", size(61, 1))
    kinds = [(f"in {name}", count) for name, count in counts.items()]
    report("kill -9 after each system call", [("in all", sum(counts.values())), *kinds])
    assert min(counts.values()) > 0


def test_each_system_call_fails_once(library, folder):
    counts = run(library, folder, "fail", size(97, 1))
    kinds = [(f"in {name}", count) for name, count in counts.items()]
    report("system calls that failed", [("in all", sum(counts.values())), *kinds])
    assert min(counts.values()) > 0


def test_killed_at_random_moments(library, folder):
    counts = run(library, folder, "random", size(15, 1000))
    report("kill -9 at random moments", [(name, count) for name, count in counts.items()])
    assert counts["operations acknowledged"] > 0
