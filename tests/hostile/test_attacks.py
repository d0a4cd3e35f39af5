"""An index written by an attacker: typed errors, in little time and memory, and no signal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import ATTACKS

SUPPORT = Path(__file__).resolve().parents[1] / "support"
MAX_SECONDS = 20.0

HARMLESS = {
    "sqlite: full-text blocks",
    "sqlite: full-text structure",
    "sqlite: full-text settings",
    "sqlite: full-text lengths that are huge",
    "sqlite: full-text lengths that are long",
    "sqlite: full-text lengths that are text",
    "sqlite: full text of unknown documents",
    "sqlite: large pages",
    "sqlite: other encoding",
    "sqlite: write-ahead log",
}
"""Attacks on what a check cannot tell, or that change nothing that is read."""


@pytest.fixture(scope="module")
def outcomes(built, tmp_path_factory) -> dict[str, dict]:
    """All attacks in one process, whose end by a signal would show here."""
    work = tmp_path_factory.mktemp("attacks")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [str(SUPPORT), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "attacks.py"), str(built), str(work)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(outcomes, name):
    found = outcomes[name]
    leaked = {step: text for step, text in found["outcomes"].items() if text.startswith("leaked")}
    assert not leaked
    assert found["seconds"] < MAX_SECONDS
    if name not in HARMLESS:
        assert found["outcomes"]["check"] != "ok" or found["outcomes"]["repair"] == "ok"
