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

    Args:
        folder: of the event files.
        step: the first that will be logged; what an earlier, killed run logged from there on is
            hidden.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "tracking needs the package tensorboard: pip install 'weft[train]'."
            ) from error
        make: Any = SummaryWriter
        self._writer = make(log_dir=str(folder), purge_step=step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note numbers by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
