"""Where the numbers of a run go, so that it can be watched: TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import MissingDependencyError


class Tracker(Protocol):
    """Takes the numbers of a step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note numbers by name."""

    def close(self) -> None:
        """Write what is left."""


class NoTracker:
    """Takes the numbers and forgets them."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class TensorBoard:
    """Writes event files that `tensorboard --logdir` shows.

    What an earlier, killed run logged of the steps that are done again is hidden.

    Args:
        folder: of the event files.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "tracking needs the package tensorboard: pip install 'weft[train]'."
            ) from error
        self._make: Any = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note numbers by name."""
        if self._writer is None:
            # Which step a run goes on with is known when it takes its first.
            self._writer = self._make(log_dir=str(self._folder), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
