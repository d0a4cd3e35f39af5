"""The arrows of the house point one way, and the engine knows no framework."""

import ast
from pathlib import Path

import pytest

import weft.workers

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("kernels", "engine", "workers", "integrations")
ALLOWED = {
    "kernels": {"kernels"},
    "engine": {"engine", "kernels"},
    "workers": {"workers", "engine", "kernels"},
    "integrations": {"integrations", "engine", "kernels"},
}
# The command line and the HTTP service submit to the workers, and start and watch them, and the
# adapters submit to them where a queue is configured; all through the public names of
# `weft.workers` alone.
SUBMITTERS = (
    *("integrations/cli", "integrations/service"),
    *("integrations/langchain", "integrations/llama_index", "integrations/writing.py"),
)
PUBLIC = {"weft.workers"} | {f"weft.workers.{name}" for name in weft.workers.__all__}
FRAMEWORKS = {"langchain_core", "llama_index", "celery", "redis", "fastapi", "typer", "rich"}


def modules():
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))


def imported(path):
    """Absolute dotted names of all that a module imports, at any depth of its code."""
    package = ("weft", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *((node.module or "").split(".") if node.module else ())))
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def rooms_entered(path):
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "weft" and len(parts) > 1 and parts[1] in ROOMS:
            yield parts[1], name


@pytest.mark.parametrize("path", list(modules()), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows(path):
    relative = path.relative_to(ROOT).as_posix()
    allowed = set(ALLOWED[relative.split("/")[0]])
    for room, name in rooms_entered(path):
        if room == "workers" and relative.startswith(SUBMITTERS):
            assert name in PUBLIC, f"{relative} imports {name}"
            continue
        assert room in allowed, f"{relative} imports {name}"


@pytest.mark.parametrize("room", ["kernels", "engine"])
def test_engine_and_kernels_import_no_framework(room):
    for path in (ROOT / room).rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & FRAMEWORKS, f"{path.relative_to(ROOT)} imports {tops & FRAMEWORKS}"


def test_no_room_imports_what_comes_with_the_tests_alone():
    for path in modules():
        found = {name.split(".")[0] for name in imported(path)} & {"faiss", "hypothesis", "pytest"}
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_the_checker_sees_relative_and_absolute_imports(tmp_path, monkeypatch):
    bad = tmp_path / "engine" / "search" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("from ...workers import app\nimport weft.integrations.cli\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert {room for room, _ in rooms_entered(bad)} == {"workers", "integrations"}
