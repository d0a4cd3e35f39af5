"""Puts kernels that were built with sanitizers in the place of the installed ones.

The path of the built module stands in `WEFT_KERNELS`. As a pytest plugin (`-p
sanitized_kernels`), or imported before `weft`. The runtime of the sanitizer must have been
loaded first, by `LD_PRELOAD`: Python itself is not built with it.
"""

from __future__ import annotations

import importlib.util
import os
import sys

NAME = "weft.kernels._core"


def load(path: str) -> None:
    """Make `import weft.kernels` find the module at this path."""
    if "weft.kernels" in sys.modules:
        raise RuntimeError("weft.kernels was imported before its sanitized module")
    spec = importlib.util.spec_from_file_location(NAME, path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is no extension module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


if os.environ.get("WEFT_KERNELS"):
    load(os.environ["WEFT_KERNELS"])
