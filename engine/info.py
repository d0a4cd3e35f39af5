"""What this installation can do, for bug reports and `weft info`."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .. import kernels

REPORTED_PACKAGES = ("numpy", "torch", "transformers", "safetensors")


def info() -> dict[str, Any]:
    """Versions, kernel targets and threads of this installation.

    Returns:
        A JSON-ready dict with `weft`, `python`, `machine`, `kernels`, `cuda` (whether a GPU can be
        used, why or why not, and those there are) and `packages`.
    """
    return {
        "weft": version("weft"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "kernels": {
            "target": kernels.active_target(),
            "targets": kernels.targets(),
        },
        "cuda": asdict(kernels.cuda_status()),
        "packages": {name: _version(name) for name in REPORTED_PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
