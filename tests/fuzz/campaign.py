"""Fuzzes every harness for some seconds, several at a time, and prints a line for each.

    python tests/fuzz/campaign.py --seconds 30 --kernels build/asan/kernels/_core.so

Inputs that found something, and the fuzzer's log, are left in the output folder; an input is
run again by `python tests/fuzz/explore.py HARNESS --input HEX`.
"""

from __future__ import annotations

import argparse
import ctypes.util
import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))

from harnesses import HARNESSES, make  # noqa: E402

INPUT_SECONDS = 10
"""Sanitizers make everything several times slower; a busy machine needs `--input-seconds`."""
MEMORY_MIB = 2048
# PyTorch and its thread pools alone take half of that under AddressSanitizer.
LARGEST_ALLOCATION_MIB = 768
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:"
    f"max_allocation_size_mb={LARGEST_ALLOCATION_MIB}:quarantine_size_mb=16",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}
RUNS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
MEMORY = re.compile(r"stat::peak_rss_mb:\s+(\d+)")
SLOWEST = re.compile(r"stat::slowest_unit_time_sec:\s+(\d+)")


@dataclass(frozen=True)
class Outcome:
    """What fuzzing one harness gave."""

    name: str
    log: str
    found: list[Path]
    code: int

    @property
    def failed(self) -> bool:
        """Whether something was found, or the fuzzer did not run."""
        return bool(self.found) or self.code != 0

    def line(self, seconds: int) -> str:
        """For people: executions, memory, findings."""
        runs, memory, slowest = (
            int(found[1]) if (found := pattern.search(self.log)) else 0
            for pattern in (RUNS, MEMORY, SLOWEST)
        )
        verdict = f"{len(self.found)} FOUND, see its log" if self.failed else "nothing found"
        return (
            f"{self.name:<12} {runs:>9,} executions {runs / seconds:>8,.0f}/s "
            f"{memory:>6,} MiB {slowest:>3} s slowest  {verdict}"
        )


def fuzz(
    name: str, seconds: int, kernels: Path | None, output: Path, input_seconds: int
) -> Outcome:
    """Fuzz one harness in a process of its own."""
    folder = output / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(make(name).seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    old = set(folder.glob("found-*"))
    command = [
        sys.executable,
        str(HERE / "target.py"),
        name,
        f"-max_total_time={seconds}",
        f"-timeout={input_seconds}",
        f"-report_slow_units={input_seconds}",
        f"-rss_limit_mb={MEMORY_MIB}",
        "-max_len=256",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/found-",
        str(corpus),
    ]
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        code = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment(kernels), check=False
        ).returncode
    text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    return Outcome(name, text, sorted(set(folder.glob("found-*")) - old), code)


def environment(kernels: Path | None) -> dict[str, str]:
    """The environment of a fuzzer, with the sanitizer's runtime in front of everything."""
    found = {**os.environ, **SANITIZERS, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "0"}
    if kernels is not None:
        # The compiler's own runtime would take the place of libFuzzer's coverage.
        atheris = importlib.util.find_spec("atheris")
        if atheris is None or atheris.origin is None:
            raise SystemExit("atheris is not installed: run make fuzz.")
        runtime = Path(atheris.origin).parents[1] / "asan_with_fuzzer.so"
        libraries = (str(runtime), ctypes.util.find_library("stdc++") or "libstdc++.so.6")
        found |= {"LD_PRELOAD": " ".join(libraries), "WEFT_KERNELS": str(kernels.resolve())}
    return found


def main() -> int:
    """Read the arguments, fuzz, print; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("harnesses", nargs="*", help="all where none is named")
    parser.add_argument("--seconds", type=int, default=30, help="for each harness")
    parser.add_argument("--input-seconds", type=int, default=INPUT_SECONDS, help="for one input")
    parser.add_argument("--kernels", type=Path, help="the sanitized module _core.*.so")
    parser.add_argument("--output", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    unknown = set(given.harnesses) - HARNESSES.keys()
    if unknown:
        parser.error(f"no harness {sorted(unknown)}: there are {', '.join(HARNESSES)}")
    failed = False
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(
            lambda name: fuzz(
                name, given.seconds, given.kernels, given.output, given.input_seconds
            ),
            given.harnesses or list(HARNESSES),
        ):
            failed |= outcome.failed
            print(outcome.line(given.seconds), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
