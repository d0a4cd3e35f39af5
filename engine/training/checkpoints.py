"""What a killed run goes on from: weights and optimiser of the last steps.

Nothing random has to be kept: batches, negatives and dropout are functions of seed and step.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..encoder.configuration import read_object
from ..errors import CheckpointError, StorageError, TrainingError
from .identity import require_same

_KEPT: Final = 2
_NAME: Final = re.compile(r"step-(\d{8})")
_WEIGHTS, _OPTIMISER, _STATE = "weights.safetensors", "optimiser.safetensors", "state.json"
_MOMENTS: Final = ("exp_avg", "exp_avg_sq")


class Checkpoints:
    """The checkpoints of one run, newest two kept; each appears under its name when complete.

    Args:
        folder: holds `step-<number>` folders.
        identity: what a run must share with one that it goes on from: settings, data, start.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder, self._identity = folder, json.loads(json.dumps(identity))

    def save(self, step: int, model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Keep the state after `step` steps.

        Raises:
            StorageError: the disk is full, or the folder may not be written.
        """
        place = self._folder / f"step-{step:08d}"
        aside = self._folder / f"{place.name}.part"
        try:
            self._write(aside, step, model, optimiser)
            shutil.rmtree(place, ignore_errors=True)
            aside.rename(place)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise StorageError(
                f"{place} cannot be written ({error}): make room there, and run the same again; "
                "it goes on from the checkpoint before"
            ) from error
        for _, old in self._found()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _write(
        self, folder: Path, step: int, model: torch.nn.Module, optimiser: torch.optim.Optimizer
    ) -> None:
        # Killed runs leave some behind, as large as three models.
        for left in self._folder.glob("step-*.part"):
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir(parents=True)
        weights = {name: value.detach().cpu() for name, value in _parameters(model)}
        save_file(weights, folder / _WEIGHTS)
        save_file(_moments(model, optimiser), folder / _OPTIMISER)
        state = {"step": step, "identity": self._identity}
        (folder / _STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")

    def restore(self, model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> int:
        """Load the newest checkpoint, and return how many steps it has behind it; 0 for none.

        Raises:
            TrainingError: it is of another run, or damaged; names the folder.
        """
        found = self._found()
        if not found:
            return 0
        step, place = found[-1]
        try:
            state = read_object(place / _STATE)
            require_same(place, state.get("identity"), self._identity)
            weights = load_file(place / _WEIGHTS)
            moments = load_file(place / _OPTIMISER)
            with torch.no_grad():
                for name, parameter in _parameters(model):
                    parameter.copy_(weights[name])
            _restore_moments(model, optimiser, moments)
        except (SafetensorError, OSError, KeyError, RuntimeError, CheckpointError) as error:
            raise TrainingError(
                f"{place} is damaged ({error}): delete that folder, and the run goes on from the "
                "checkpoint before it"
            ) from error
        return step

    def _found(self) -> list[tuple[int, Path]]:
        if not self._folder.is_dir():
            return []
        places = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return sorted((int(match[1]), path) for match, path in places if match)


def _parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    yield from model.named_parameters()


def _moments(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{moment}": optimiser.state[parameter][moment].detach().cpu()
        for name, parameter in _parameters(model)
        if parameter in optimiser.state
        for moment in _MOMENTS
    } | {
        # Adapters of languages that came late have fewer updates behind them than others.
        f"{name}/step": optimiser.state[parameter]["step"].detach().cpu()
        for name, parameter in _parameters(model)
        if parameter in optimiser.state
    }


def _restore_moments(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    moments: dict[str, torch.Tensor],
) -> None:
    for name, parameter in _parameters(model):
        if f"{name}/step" not in moments:
            continue
        state = {key: moments[f"{name}/{key}"].to(parameter.device) for key in _MOMENTS}
        optimiser.state[parameter] = {**state, "step": moments[f"{name}/step"]}
