"""What a training run is told."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..errors import InvalidParameterError

LOSSES: Final = ("distil", "binary")
DTYPES: Final = ("fp32", "bf16")
CHUNK_TOKENS: Final = 8192
"""Some 3 GB of activations for MiniLM and 12 GB for BERT-base in fp32."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How long and how a model is trained; the defaults suit some thousand examples.

    Args:
        steps: optimiser steps.
        batch: queries of a step, over all processes.
        ways: passages per query, the positive and as many of its line's others, drawn anew
            each time where a line has more.
        learning_rate: the highest, reached after the warm-up.
        warmup: steps of linear warm-up; then it falls linearly to 0.
        weight_decay: of AdamW; biases and norms are left out.
        loss: "distil" follows the teacher's scores, "binary" takes the first passage as right.
        temperature: divides MaxSim scores in the loss.
        teacher_temperature: divides the teacher's scores.
        in_batch: weight of the in-batch negatives beside the loss.
        max_gradient_norm: longer gradients are shortened to it.
        dropout: use the backbone's own dropout.
        dtype: "fp32", or "bf16" for products in bfloat16 with float32 weights.
        chunk_tokens: tokens whose activations are in memory at a time; a batch with more is done
            by gradient caching, in bounded memory and a third more time.
        document_tokens: passages are cut to so many tokens while training; 0 leaves them as long
            as the model reads them. What is learnt on shorter ones carries over to longer.
        save_every: steps between checkpoints that a killed run goes on from.
        seed: of everything drawn.

    Raises:
        InvalidParameterError: a setting outside its range.
    """

    steps: int = 1000
    batch: int = 32
    ways: int = 8
    learning_rate: float = 2e-5
    warmup: int = 100
    weight_decay: float = 0.01
    loss: str = "distil"
    temperature: float = 1.0
    teacher_temperature: float = 1.0
    in_batch: float = 1.0
    max_gradient_norm: float = 2.0
    dropout: bool = True
    dtype: str = "fp32"
    chunk_tokens: int = CHUNK_TOKENS
    document_tokens: int = 0
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, 10**9),
            ("batch", 1, 2**16),
            ("ways", 2, 2**12),
            ("warmup", 0, 10**9),
            ("chunk_tokens", 1, 2**40),
            ("document_tokens", 0, 2**16),
            ("save_every", 1, 10**9),
            ("seed", 0, 2**31 - 1),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidParameterError(
                    f"{name} is {value!r}: use a whole number from {low} to {high}."
                )
        for name in ("learning_rate", "temperature", "teacher_temperature", "max_gradient_norm"):
            self._positive(name)
        for name in ("weight_decay", "in_batch"):
            self._number(name)
        for name, known in (("loss", LOSSES), ("dtype", DTYPES)):
            if getattr(self, name) not in known:
                raise InvalidParameterError(
                    f"{name} is {getattr(self, name)!r}: use one of {', '.join(known)}."
                )

    def _number(self, name: str) -> None:
        value = getattr(self, name)
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not math.isfinite(value) or value < 0:
            raise InvalidParameterError(f"{name} is {value!r}: use a number of 0 or more.")

    def _positive(self, name: str) -> None:
        self._number(name)
        if getattr(self, name) == 0:
            raise InvalidParameterError(f"{name} is 0: use a number above it.")

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    def identity(self) -> dict[str, Any]:
        """What decides about the weights that come out, as JSON values."""
        found = self.to_json()
        del found["save_every"]
        return found

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0: linear warm-up, then linear decay to 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        left = self.steps - step
        return self.learning_rate * left / max(1, self.steps - self.warmup)
