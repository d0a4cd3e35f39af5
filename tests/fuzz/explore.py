"""Runs a harness on random scripts of edits without a fuzzer, and lists all that it finds.

python tests/fuzz/explore.py segment --runs 2000
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from harnesses import HARNESSES, make
from harnesses.base import Harness

PARTS = ("/engine/", "/integrations/", "/workers/")

SLOW_SECONDS = 5.0
"""Of the processor: the machine may be busy with something else."""


def scripts(harness: Harness, runs: int, seed: int) -> list[bytes]:
    """The harness's seeds, then random scripts of up to 64 bytes."""
    generator = random.Random(seed)
    made = [generator.randbytes(generator.randrange(1, 65)) for _ in range(runs)]
    return [*harness.seeds(), *made]


def explore(harness: Harness, inputs: list[bytes]) -> dict[str, tuple[int, bytes, str]]:
    """What went wrong: place -> (how often, the shortest input, its traceback)."""
    count: Counter[str] = Counter()
    first: dict[str, tuple[bytes, str]] = {}
    for data in inputs:
        start = time.process_time()
        try:
            harness.run(data)
            place, text = "", ""
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 a panic of Rust is no Exception
            place, text = _place(error), traceback.format_exc()
        if time.process_time() - start > SLOW_SECONDS:
            place, text = place or "slow", text or f"{time.process_time() - start:.1f} s"
        if place:
            count[place] += 1
            if place not in first or len(data) < len(first[place][0]):
                first[place] = (data, text)
    return {place: (count[place], *first[place]) for place in first}


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if "/fuzz/" not in f.filename]
    last = (inside or frames)[-1]
    ours = [f for f in frames if any(part in f.filename for part in PARTS)]
    at = (ours or [last])[-1]
    return f"{type(error).__name__} at {at.filename.rpartition('/')[2]}:{at.lineno} {at.name}"


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("harness", choices=[*HARNESSES, "all"])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", help="one input, in hexadecimal")
    arguments = parser.parse_args()
    logging.disable()
    names = list(HARNESSES) if arguments.harness == "all" else [arguments.harness]
    for name in names:
        harness = make(name)
        given = None if arguments.input is None else [bytes.fromhex(arguments.input)]
        start = time.monotonic()
        inputs = given or scripts(harness, arguments.runs, arguments.seed)
        found = explore(harness, inputs)
        harness.close()
        seconds = time.monotonic() - start
        print(f"{name}: {len(inputs)} inputs, {len(inputs) / seconds:.0f}/s, {len(found)} places")
        for place, (count, data, text) in sorted(found.items()):
            print(f"  {count} x {place}\n    {data.hex()}")
            if given or len(found) < 4:
                print("    " + "\n    ".join(text.splitlines()[-12:]))


if __name__ == "__main__":
    main()
