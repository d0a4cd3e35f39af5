"""Makes the small indexes in this folder with the packages themselves; `make test` needs none.

Usage, from the repository's root: python tests/compat/peers/make_indexes.py CACHE

CACHE keeps an environment for each package (gigabytes; those of the benchmark are used where they
are there). What is written beside this file is what the packages wrote, less the files that no
search reads and the paths in `metadata.json`, with the scores that each package gives
(`expected_scores.npy`).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
OLD_FAST_PLAID = "fast-plaid==1.4.7.2110"
"""A version that keeps codes and residuals chunk by chunk."""

sys.path.insert(0, str(ROOT))
from benchmarks.peers.environments import python_of  # noqa: E402


def run(python, *arguments, path=()):
    paths = os.pathsep.join(map(str, (*path, ROOT)))
    environment = {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([str(python), *map(str, arguments)], env=environment, check=True, cwd=HERE)


def main(cache):
    work = cache / "fixtures"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    run(python_of("colbert-ai", cache), HERE / "build_colbert.py", work)
    python = python_of("fast-plaid", cache)
    run(python, HERE / "build_fast_plaid.py", work, "fast-plaid-1.7", 4)
    old = cache / "environments" / "fast-plaid-1.4"
    wheel = ("-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", old)
    run(python, *wheel, OLD_FAST_PLAID)
    run(python, HERE / "build_fast_plaid.py", work, "fast-plaid-1.4", 2, path=(old,))
    for folder in sorted(work.glob("*-*")):
        shutil.rmtree(HERE / folder.name, ignore_errors=True)
        shutil.copytree(folder, HERE / folder.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
