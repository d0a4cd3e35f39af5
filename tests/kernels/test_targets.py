"""Choosing a target, the reference without the native module, and what both promise."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weft import kernels
from weft.kernels import reference

FUNCTIONS = [
    "assign",
    "candidates",
    "centroid_interaction",
    "centroid_scores",
    "compress",
    "crc32c",
    "decompress",
    "maxsim",
    "maxsim_residual",
    "pack",
    "top_centroids",
    "topk",
    "unpack",
]


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


def processor_flags() -> set[str]:
    """What Linux says the processor and the kernel support."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def test_every_target_of_the_machine_is_listed() -> None:
    flags = processor_flags()
    avx2 = {"avx2", "fma", "f16c", "sse4_2"}
    avx512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} | avx2
    expected = ["baseline"]
    expected += ["avx2"] if avx2 <= flags else []
    expected += ["avx512"] if avx512 <= flags else []
    expected += ["amx"] if avx512 | {"amx_tile", "amx_int8"} <= flags else []
    assert kernels.targets() == expected


def test_use_target_switches_and_switches_back() -> None:
    before = kernels.active_target()
    for name in kernels.targets():
        with kernels.use_target(name):
            assert kernels.active_target() == name
        assert kernels.active_target() == before
    with pytest.raises(ValueError, match="sse9"), kernels.use_target("sse9"):
        pass


USE = "import numpy; from weft import kernels; print(kernels.active_target()); "
USE += "kernels.crc32c(numpy.zeros(3, dtype=numpy.uint8))"


def test_weft_target() -> None:
    best = kernels.targets()[-1]
    assert run_python(USE, WEFT_TARGET="").stdout.strip() == best
    for name in kernels.targets():
        assert run_python(USE, WEFT_TARGET=name).stdout.strip() == name
    result = run_python(USE, WEFT_TARGET="sse9")
    assert "ValueError: WEFT_TARGET: this machine has no target 'sse9'" in result.stderr
    assert best in result.stderr


WITHOUT_NATIVE = """
import logging, sys
sys.modules["weft.kernels._core"] = None
logging.basicConfig(format="%(name)s %(levelname)s")
import numpy as np
from weft import kernels
assert kernels.targets() == ["reference"] and kernels.active_target() == "reference"
assert kernels.default_threads() == 1
with kernels.use_target("reference"):
    print(kernels.topk(np.array([1, 3, 2], dtype=np.float32), 2).tolist())
"""


def test_numpy_stands_in_with_one_warning() -> None:
    result = run_python(WITHOUT_NATIVE)
    assert result.stdout.strip() == "[1, 2]", result.stderr
    assert result.stderr.count("weft.kernels.dispatch WARNING") == 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_reference_and_public_face_take_the_same_arguments(name: str) -> None:
    public = inspect.signature(getattr(kernels, name))
    assert inspect.signature(getattr(reference, name)) == public


def test_the_native_module_has_every_function() -> None:
    native = importlib.import_module("weft.kernels._core")
    assert all(callable(getattr(native, name)) for name in FUNCTIONS)
    assert set(FUNCTIONS) <= set(kernels.__all__)
