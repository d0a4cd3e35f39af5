"""Threads: the same bits whatever their number, many callers at once, and a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from weft import kernels

Results = dict[str, Any]


@pytest.fixture(scope="module")
def work() -> Callable[[int], Results]:
    """Every kernel with threads, on enough rows for many chunks; results as bytes."""
    generator = np.random.default_rng(11)
    dim, n, n_centroids, nq = 40, 6000, 5000, 33
    embeddings = generator.normal(size=(n, dim)).astype(np.float32)
    centroids = generator.normal(size=(n_centroids, dim)).astype(np.float32)
    query = generator.normal(size=(nq, dim)).astype(np.float32)
    lengths = generator.integers(0, 30, 500)
    offsets = np.minimum(np.cumsum([0, *lengths]), n).astype(np.int64)
    pids = generator.permutation(500).astype(np.uint32)
    weights = np.sort(generator.normal(size=16)).astype(np.float32)
    cutoffs = ((weights[1:] + weights[:-1]) / 2).astype(np.float32)
    limits = (0.05, 1.0)
    codes, _ = kernels.assign(embeddings[:, :], centroids)
    coded = kernels.compress(embeddings, centroids, codes, cutoffs, weights, limits)

    def run(threads: int) -> Results:
        scores = kernels.centroid_scores(centroids, query, threads=threads)
        results = {
            "scores": scores,
            "maxsim": kernels.maxsim(query, embeddings, offsets, threads=threads),
            "codes": kernels.assign(embeddings[:1500], centroids, threads=threads)[0],
            "residuals": kernels.compress(
                embeddings, centroids, codes, cutoffs, weights, limits, threads=threads
            )[0],
            "decompressed": kernels.decompress(
                codes, *coded, centroids, weights, limits, threads=threads
            ),
            "maxsim_residual": kernels.maxsim_residual(
                query, scores, codes, *coded, weights, limits, offsets, pids=pids, threads=threads
            ),
        }
        for threshold in (None, 10.0):
            results[f"interaction {threshold}"] = kernels.centroid_interaction(
                scores, codes, offsets, pids, threshold=threshold, threads=threads
            )
        return {name: array.tobytes() for name, array in results.items()}

    return run


def test_results_do_not_depend_on_threads(target: str, work: Callable[[int], Results]) -> None:
    alone = work(1)
    for threads in (2, 3, 7, 0):
        assert work(threads) == alone


def test_many_callers_at_once(work: Callable[[int], Results]) -> None:
    alone = work(1)
    with ThreadPoolExecutor(6) as callers:
        together = list(callers.map(work, [1, 2, 4, 2, 3, 0] * 2))
    assert all(results == alone for results in together)


def test_an_error_is_the_lowest_rows(target: str) -> None:
    """Which chunk fails first must not decide what the caller reads."""
    query, embeddings = np.ones((1, 2), dtype=np.float32), np.ones((4, 2), dtype=np.float32)
    offsets = np.arange(3000, dtype=np.int64)
    for threads in (1, 2, 5):
        with pytest.raises(ValueError, match="passage 4 "):
            kernels.maxsim(query, embeddings, offsets, threads=threads)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


FORK = """
import os, sys
import numpy as np
from weft import kernels
rows = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
offsets = np.arange(0, 4001, 10)
before = kernels.maxsim(rows[:3], rows, offsets, threads=3)
child = os.fork()
if child == 0:
    same = np.array_equal(kernels.maxsim(rows[:3], rows, offsets, threads=3), before)
    os._exit(0 if same else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
same = np.array_equal(kernels.maxsim(rows[:3], rows, offsets, threads=3), before)
sys.exit(status if same else 2)
"""


def test_a_child_of_fork_has_threads_of_its_own() -> None:
    result = run_python(FORK)
    assert result.returncode == 0, result.stderr


def test_weft_threads() -> None:
    code = "from weft import kernels; print(kernels.default_threads())"
    assert run_python(code, WEFT_THREADS="3").stdout.strip() == "3"
    assert run_python(code, WEFT_THREADS="").stdout.strip() == str(len(os.sched_getaffinity(0)))
    for wrong in ("0", "many", "257", "-1", "2 "):
        result = run_python(code, WEFT_THREADS=wrong)
        assert "ValueError: WEFT_THREADS" in result.stderr, wrong


DAEMONS = """
import os, sys, threading, types
import numpy as np
from weft import kernels
rows = np.random.default_rng(0).normal(size=(50_000, 64)).astype(np.float32)
offsets = np.arange(0, 50_001, 100)
started = threading.Barrier(3)
def search():
    started.wait()
    while True:
        kernels.maxsim(rows[:32], rows, offsets, threads=2)
for _ in range(2):
    threading.Thread(target=search, daemon=True).start()
class AtExit:
    def __del__(self, write=os.write, maxsim=kernels.maxsim, rows=rows, offsets=offsets):
        if sys.is_finalizing():
            write(1, str(maxsim(rows[:1], rows, offsets, threads=2).shape).encode())
kept = sys.modules["kept"] = types.ModuleType("kept")  # is taken down with the modules
kept.at_exit = AtExit()
del kept
started.wait()
kernels.maxsim(rows[:32], rows, offsets, threads=2)
"""


def test_the_interpreter_ends_with_daemon_threads_inside_kernels() -> None:
    """They come back to an interpreter that is gone; its own finalisers still run kernels."""
    for _ in range(3):
        result = run_python(DAEMONS)
        assert (result.returncode, result.stdout.strip()) == (0, "(500,)"), result.stderr


ENVIRONMENT = """
import ctypes, os, sys, threading, time
import numpy as np
from weft import kernels
sys.setswitchinterval(1000)  # threads change over only where one lets go of the GIL
variables = (ctypes.c_char_p * 1_000_001)(*[b"X=1"] * 1_000_000)
variables[999_999] = b"WEFT_THREADS=none"
ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value = ctypes.addressof(variables)
def write():
    while True:
        variables[999_999] = b"X=1"
        until = time.monotonic() + 0.005
        while time.monotonic() < until:
            pass
        variables[999_999] = b"WEFT_THREADS=none"
        time.sleep(0.001)
threading.Thread(target=write, daemon=True).start()
rows, offsets = np.ones((2, 2), dtype=np.float32), np.array([0, 2])
refused = 0
for _ in range(30):
    try:
        kernels.maxsim(rows, rows, offsets)
    except ValueError:
        refused += 1
print(refused, flush=True)
os._exit(0)
"""


def test_the_environment_is_read_with_the_gil() -> None:
    """A writer that holds the GIL is never seen between two consistent states."""
    result = run_python(ENVIRONMENT)
    assert result.stdout.strip() == "30", result.stderr
