"""The mean of a trained model's weights and its start's: most of the gain, less forgotten.

Training on one domain costs quality on others. On the line between the two models' weights lie
models that keep most of what was gained and lose little of what the start knew.

Source: Wortsman et al. 2022 (Robust fine-tuning of zero-shot models), section 3.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import InvalidParameterError
from .layouts import write_pylate
from .trainable import TrainableEncoder


def average(start: str | Path, trained: str | Path, folder: Path, *, share: float = 0.5) -> Path:
    """Write the mean of two models in PyLate's layout.

    Args:
        start, trained: late-interaction checkpoints, the second trained from the first.
        folder: where the mean is written.
        share: of the trained model, 0 to 1.

    Returns:
        The folder.

    Raises:
        CheckpointError: one of them cannot be read.
        InvalidParameterError: a share out of range, or models of different shape.
    """
    if not 0 <= share <= 1:
        raise InvalidParameterError(f"share is {share!r}: use a number from 0 to 1.")
    before, after = TrainableEncoder.load(start), TrainableEncoder.load(trained)
    old = dict(before.named_parameters())
    new = dict(after.named_parameters())
    shapes = {name: value.shape for name, value in old.items()}
    if shapes != {name: value.shape for name, value in new.items()}:
        raise InvalidParameterError(
            f"{trained} was not trained from {start}: their weights have different shapes."
        )
    with torch.no_grad():
        for name, parameter in new.items():
            parameter.lerp_(old[name], 1 - share)
    write_pylate(after, folder)
    return folder
