"""The documents say what the code does: names, limits, parameters and the README's example."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import weft
from weft.engine import errors, limits

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARAMETERS = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert README.count("\n") < 150


def test_the_readme_example_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0].split()
    assert first[1] == "weft" and float(first[0]) > 0


def test_the_readme_names_only_targets_that_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for name in re.findall(r"^make ([a-z-]+)", README, re.M):
        assert name in targets


@pytest.mark.parametrize("name", [n for n in vars(limits) if n.isupper()])
def test_each_limit_is_documented(name):
    value = getattr(limits, name)
    row = re.search(rf"^\|\s*`{name}`\s*\|([^|]*)\|", PARAMETERS, re.M)
    assert row, f"docs/parameters.md has no row for {name}"
    assert int(row.group(1).replace(",", "").strip()) == value


def test_each_error_is_in_the_tree_at_the_top_of_its_file():
    names = [
        n
        for n, v in vars(errors).items()
        if isinstance(v, type) and v.__module__ == errors.__name__
    ]
    for name in names:
        assert re.search(rf"[├└ ]\s*{name}\b|^\s+{name}$", errors.__doc__, re.M), name


def test_each_public_name_is_documented():
    text = README + "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").glob("*.md"))
    for name in weft.__all__:
        assert name in text, f"no document mentions weft.{name}"


@pytest.mark.parametrize(
    "parameter",
    [
        *("effort", "nprobe", "ndocs", "n_rescored", "exact", "algorithm", "hybrid"),
        *("centroid_score_threshold", "threads"),
    ],
)
def test_each_search_parameter_is_documented(parameter):
    assert re.search(rf"^\|\s*`{parameter}`\s*\|", PARAMETERS, re.M)


def test_no_file_passes_four_hundred_lines():
    rooms = ("kernels", "engine", "workers", "integrations", "examples", "tests", "benchmarks")
    suffixes = {".py", ".cpp", ".h", ".cu", ".cuh", ".inc"}
    for room in rooms:
        for path in (ROOT / room).rglob("*"):
            if path.suffix in suffixes:
                assert path.read_text(encoding="utf-8").count("\n") <= 400, path
