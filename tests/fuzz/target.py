"""One harness under atheris: `python tests/fuzz/target.py NAME [options of libFuzzer] [corpus]`.

`campaign.py` starts it for each harness, with sanitized kernels.
"""

from __future__ import annotations

import atexit
import logging
import sys
import traceback
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import sanitized_kernels  # noqa: F401 before anything that imports the kernels

with atheris.instrument_imports(include=["weft.engine", "weft.integrations", "weft.workers"]):
    from harnesses import make


def main() -> None:
    """Fuzz until libFuzzer is told to stop, or something is found."""
    with atheris.instrument_imports(include=["weft.engine", "weft.integrations", "weft.workers"]):
        harness = make(sys.argv.pop(1))
        harness.run(b"")
    atexit.register(harness.close)
    logging.disable()
    warnings.simplefilter("ignore")

    def one(data: bytes) -> None:
        try:
            harness.run(data)
        except BaseException:
            # atheris prints Python's traceback only for some kinds of errors.
            print(f"FOUND by {data.hex()}", file=sys.stderr)
            traceback.print_exc()
            raise

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
