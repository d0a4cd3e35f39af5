"""Build, check and time the GPU kernels on a bare machine; one table at the end.

    python3 benchmarks/gpu/run.py [--passages 1000000] [--out DIR] [--skip-checks] [--dry-run]

Needs nvcc, cmake (3.26 or later), ninja, and a python3 with torch (CUDA), numpy, nanobind and
pytest; no network, and nothing is installed: everything is built and staged in DIR (a temporary
folder). It takes less than ten minutes with 16 cores and an H100 or H200.

1. Builds both native modules and the emulation of the device on the host.
2. Runs the tests of the kernels on the GPU, against float64, NumPy and the search on the processor.
3. Compares the GPU with the emulation bit by bit, and lets compute-sanitizer, where there is one,
   look for bad accesses (memcheck) and races (racecheck) in a small search and build.
4. Measures: see measure.py.

With --dry-run the same steps are taken without a GPU, with the emulation in its place and few
passages; what it prints as times is meaningless.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PYTEST_SETTINGS = """[pytest]
addopts = --import-mode=importlib -q -p no:cacheprovider
pythonpath = {root}/tests/support
markers =
  cuda: needs an NVIDIA GPU
"""


def call(title: str, command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Run a command, with its output, its time, and whether it succeeded."""
    print(f"\n== {title}", flush=True)
    start = time.monotonic()
    done = subprocess.run(command, env={**os.environ, **(environment or {})})
    seconds = time.monotonic() - start
    print(f"== {title}: {'ok' if done.returncode == 0 else 'FAILED'}, {seconds:.0f} s", flush=True)
    return done.returncode == 0


def find_architecture() -> str:
    """The compute capability of the first GPU, as CMake wants it."""
    asked = "import torch; print(*torch.cuda.get_device_capability(0), sep='.')"
    for query in (
        ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"],
        [sys.executable, "-c", asked],
    ):
        if shutil.which(query[0]) is None:
            continue
        answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
        found = answer.split("\n")[0].strip()
        if re.fullmatch(r"\d+\.\d", found):
            return found.replace(".", "")
    return "90"


def find_tool(name: str) -> str:
    """A program beside this python, as pip installs it, or on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        sys.exit(f"{name} is missing: `pip install 'cmake>=3.26' ninja nanobind` gives it")
    return found


def build(folder: Path) -> Path:
    """Compile, and stage an importable `weft.kernels`; its folder."""
    where = subprocess.run(
        [sys.executable, "-m", "nanobind", "--cmake_dir"], capture_output=True, text=True
    )
    if where.returncode != 0:
        sys.exit("nanobind is missing: it is needed to build, as `pip install nanobind` gives it")
    configure = [
        *(find_tool("cmake"), "-S", str(ROOT), "-B", str(folder / "build"), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={find_tool('ninja')}",
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dnanobind_DIR={where.stdout.strip()}",
        "-DWEFT_CUDA=ON",
        "-DWEFT_EMULATION=ON",
        f"-DWEFT_CUDA_ARCHITECTURES={find_architecture()}",
    ]
    ok = call("configuring", configure) and call(
        "compiling", [find_tool("cmake"), "--build", str(folder / "build")]
    )
    if not ok:
        sys.exit("the build failed")
    stage = folder / "stage"
    package = stage / "weft" / "kernels"
    package.mkdir(parents=True, exist_ok=True)
    (stage / "weft" / "__init__.py").write_text("")
    for path in (ROOT / "kernels").glob("*.py"):
        shutil.copy(path, package)
    for path in (folder / "build").rglob("_c*.so"):
        shutil.copy(path, package)
    return stage


def check(folder: Path, stage: Path, dry: bool) -> list[str]:
    """Run all checks; what failed or could not be run."""
    wrong = []
    environment = {"PYTHONPATH": f"{stage}:{ROOT / 'tests' / 'support'}"}
    settings = folder / "pytest.ini"
    settings.write_text(PYTEST_SETTINGS.format(root=ROOT))
    tests = sorted(str(path) for path in (ROOT / "tests" / "cuda").glob("test_device_*.py"))
    pytest = [sys.executable, "-m", "pytest", "-c", str(settings), "--rootdir", str(ROOT)]
    which, title = ("not cuda", "tests on the host") if dry else ("cuda", "tests on the GPU")
    if not call(title, [*pytest, "-m", which, *tests], environment):
        wrong.append(title)
    same = [sys.executable, str(HERE / "same_bits.py"), *(["--dry-run"] if dry else [])]
    if not call("the GPU's bits and the emulation's", same, environment):
        wrong.append("bits differ from the emulation's")
    sanitizer = shutil.which("compute-sanitizer")
    if dry:
        return wrong
    if sanitizer is None:
        return [*wrong, "compute-sanitizer: not run, it is not installed"]
    for tool in ("memcheck", "racecheck"):
        command = [sanitizer, "--tool", tool, "--error-exitcode", "3", *same, "--small"]
        if not call(f"compute-sanitizer {tool}", command, environment):
            wrong.append(f"compute-sanitizer {tool}")
    return wrong


def main() -> None:
    """Build, check, measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--skip-checks", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    start = time.monotonic()
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="weft-gpu-"))
    folder.mkdir(parents=True, exist_ok=True)
    stage = build(folder.resolve())
    dry = arguments.dry_run
    wrong = [] if arguments.skip_checks else check(folder.resolve(), stage, dry)
    passages = min(arguments.passages, 2000) if dry else arguments.passages
    measure = [sys.executable, str(HERE / "measure.py"), "--passages", str(passages)]
    if dry:
        measure += ["--dry-run", "--queries", "8"]
    measured = call("measuring", measure, {"PYTHONPATH": f"{stage}:{HERE}"})
    print(f"\n{time.monotonic() - start:.0f} s in all")
    for problem in wrong:
        print("not right:", problem)
    sys.exit(1 if wrong or not measured else 0)


if __name__ == "__main__":
    main()
