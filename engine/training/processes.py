"""The processes of a run: one, or several started by `accelerate launch`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import Any, Protocol

import torch

from ..encoder.runtime import torch_device
from ..errors import InvalidParameterError, MissingDependencyError


class Processes(Protocol):
    """What training asks of the processes it runs in."""

    rank: int
    count: int
    device: torch.device

    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes."""

    def mean(self, value: float) -> float:
        """The mean of a number over all processes."""

    def wait(self) -> None:
        """Return when all processes have come here."""


class Alone:
    """One process.

    Args:
        device: `auto` (CUDA where there is any), `cpu`, `cuda` or `cuda:N`.

    Raises:
        InvalidParameterError: no such device, or a GPU that is not there.
    """

    rank, count = 0, 1

    def __init__(self, device: str = "auto") -> None:
        self.device = torch_device(device)

    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Nothing: there is no other process."""

    def mean(self, value: float) -> float:
        """The number itself."""
        return value

    def wait(self) -> None:
        """Nothing: there is no other process."""


class Several:
    """Processes started together by `accelerate launch`, one per GPU.

    Raises:
        MissingDependencyError: accelerate is not installed.
    """

    def __init__(self, device: str = "auto") -> None:
        try:
            # It carries no annotations.
            accelerate: Any = importlib.import_module("accelerate")
        except ImportError as error:
            raise MissingDependencyError(
                "training in several processes needs the package accelerate: "
                "pip install 'weft[train]'."
            ) from error
        self._accelerator = accelerate.Accelerator(
            cpu=device == "cpu" or not torch.cuda.is_available()
        )
        self.rank = int(self._accelerator.process_index)
        self.count = int(self._accelerator.num_processes)
        self.device = self._accelerator.device

    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes."""
        for parameter in parameters:
            if parameter.grad is None:
                # All processes must exchange the same tensors: this one met no text for it.
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.copy_(self._accelerator.reduce(parameter.grad, reduction="mean"))

    def mean(self, value: float) -> float:
        """The mean of a number over all processes."""
        held = torch.tensor(value, dtype=torch.float64, device=self.device)
        return float(self._accelerator.reduce(held, reduction="mean"))

    def wait(self) -> None:
        """Return when all processes have come here."""
        self._accelerator.wait_for_everyone()


def find_processes(device: str = "auto") -> Processes:
    """The processes that this one belongs to."""
    return Several(device) if _world_size() > 1 else Alone(device)


def require_alone(what: str) -> None:
    """Refuse to do in several processes what each of them would do again, over the other's files.

    Raises:
        InvalidParameterError: this is one of several processes.
    """
    if _world_size() > 1:
        raise InvalidParameterError(
            f"{what} runs in one process, and this is one of {_world_size()}: start it without "
            "`accelerate launch`, which is for `weft train distil` and `weft train teacher`."
        )


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
