"""What a harness is: seeds, and one reader that must answer every input or refuse it by name."""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

from weft.engine.errors import WeftError

TYPED = (WeftError,)
"""What a reader may raise. Anything else, a signal, a hang or a flood of memory is a finding."""


class Harness(ABC):
    """One reader of foreign bytes.

    An input is a script of edits to valid files (see `Source`), not a file itself, so that most
    inputs get past checksums and parsers.
    """

    @abstractmethod
    def run(self, data: bytes) -> None:
        """Let the reader have one input; `WeftError` is an answer, any other error a finding."""

    def seeds(self) -> list[bytes]:
        """Inputs to begin with: no edit at all, and each first choice once."""
        return [b"", *(bytes([kind, 0, 0, kind, 1, 2, 3, 4]) for kind in range(32))]

    @cached_property
    def folder(self) -> Path:
        """A folder of the harness's own, removed by `close`."""
        return Path(tempfile.mkdtemp(prefix="weft-fuzz-"))

    def close(self) -> None:
        """Remove what the harness wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)


def allowed(error: BaseException) -> bool:
    """Whether an error is one that a reader may raise."""
    return isinstance(error, TYPED)
