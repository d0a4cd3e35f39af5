"""Damage of single bytes and of lengths: all of it is detected, and no search result changes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import report, size
from scratch import scratch_folder

SUPPORT = Path(__file__).resolve().parents[1] / "support"
KINDS = ("flips", "lengths", "detected", "undetected", "refused", "equal", "wrong")
STEP = size(397, 1)
N_RANDOM = size(100, 10_000)


@pytest.fixture
def folder():
    path = scratch_folder()
    yield path
    shutil.rmtree(path)


def test_damage_is_detected_and_changes_no_result(folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [str(SUPPORT), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "flips.py"), str(folder), str(STEP), str(N_RANDOM)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    report(
        "flipped bytes and wrong lengths",
        [(f"{name}", counts.get(name, 0)) for name in KINDS],
    )
    assert counts["undetected"] == counts["wrong"] == 0
    assert counts["detected"] == counts["flips"] + counts["lengths"] > N_RANDOM
