"""The search in bytes by many threads at once, after a fork, and on arrays that only it holds."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import coded_oracle
import numpy as np
import pytest
from coded_oracle import Collection, make_collection, make_segment


@pytest.fixture(scope="module")
def wide() -> tuple[Any, list[Any], list[Any]]:
    """A codec, segments and queries that give every thread something to do."""
    generator = np.random.default_rng(7)
    made = make_collection(generator, 5000, 32, 4)
    for prefix in (5000, 1300):
        lengths = generator.integers(0, 12, 1200)
        made.segments.append(make_segment(generator, made, lengths, n_centroids=prefix))
    queries = [generator.normal(size=(nq, 32)).astype(np.float32) for nq in (32, 1, 40, 7)]
    return made.codec(), [segment.native() for segment in made.segments], queries


def answers(wide: tuple[Any, list[Any], list[Any]], threads: int, nprobe: int = 40) -> list[bytes]:
    codec, segments, queries = wide
    limits = {"nprobe": nprobe, "n_candidates": 900, "n_rescored": 500, "n_exact": 100}
    return [
        part.tobytes()
        for query in queries
        for part in codec.search(query, segments, [None, None], threads=threads, **limits)
    ]


def test_answers_do_not_depend_on_threads(target: str, wide: Any) -> None:
    alone = answers(wide, 1)
    for threads in (2, 3, 0):
        assert answers(wide, threads) == alone


def test_long_lists_are_shared_out(target: str, wide: Any) -> None:
    """All lists are probed: so many passages that threads begin in the midst of each list."""
    alone = answers(wide, 1, nprobe=5000)
    for threads in (2, 3, 7):
        assert answers(wide, threads, nprobe=5000) == alone


def test_many_callers_at_once(target: str, wide: Any) -> None:
    alone = answers(wide, 1)
    with ThreadPoolExecutor(16) as callers:
        together = list(callers.map(lambda threads: answers(wide, threads), [1, 2, 3, 1] * 4))
    assert all(answer == alone for answer in together)


FORK = """
import os, sys
sys.path.insert(0, sys.argv[1])
import sanitized_kernels, numpy as np
from coded_oracle import make_collection, make_segment
generator = np.random.default_rng(7)
made = make_collection(generator, 3000, 32, 4)
made.segments.append(make_segment(generator, made, [5] * 400 + [0]))
codec, segment = made.codec(), made.segments[0].native()
query = generator.normal(size=(32, 32)).astype(np.float32)
limits = {"nprobe": 9, "n_candidates": 300, "n_rescored": 200, "n_exact": 50, "threads": 3}
def ask():
    return [part.tobytes() for part in codec.search(query, [segment], [None], **limits)]
before = ask()
child = os.fork()
if child == 0:
    os._exit(0 if ask() == before == ask() else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(status if ask() == before else 2)
"""


def test_a_child_of_fork_searches() -> None:
    support = str(Path(coded_oracle.__file__).parent)
    result = subprocess.run(
        [sys.executable, "-c", FORK, support],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_a_segment_outlives_its_arrays() -> None:
    """What is looked into is kept."""
    generator = np.random.default_rng(9)
    made: Collection | None = make_collection(generator, 300, 16, 4)
    assert made is not None
    made.segments.append(make_segment(generator, made, [5] * 100 + [0]))
    query = generator.normal(size=(4, 16)).astype(np.float32)
    limits = {"nprobe": 9, "n_candidates": 90, "n_rescored": 50, "n_exact": 50}
    expected = made.search(query, **limits)
    codec, native = made.codec(), made.segments[0].native()
    made = None
    filler = [np.full(4096, 255, dtype=np.uint8) for _ in range(200)]
    found = codec.search(query, [native], [None], **limits)
    assert len(filler) == 200
    assert [part.tobytes() for part in found] == [part.tobytes() for part in expected]
