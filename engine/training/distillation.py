"""Trains a late-interaction encoder from n-way examples, step by step, and goes on when killed.

Source: Santhanam et al. 2022 (ColBERTv2), section 3.2.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError

from ..encoder.tokenization import Tokenization
from ..errors import CheckpointError, InvalidParameterError, StorageError, TrainingError
from .caching import accumulate_gradients
from .checkpoints import Checkpoints
from .data import Batch, TrainingData, order
from .identity import weights_digest
from .layouts import write_hf_colbert, write_pylate
from .losses import binary_loss, distillation_loss, in_batch_loss
from .maxsim import maxsim, pad
from .processes import Alone, Processes
from .settings import TrainingSettings
from .tracking import NoTracker, Tracker
from .trainable import TrainableEncoder

MODEL: Final = "model"
"""Folder of the result in PyLate's layout, inside the output folder."""

HF_COLBERT: Final = "model-hf-colbert"
"""Folder of the result in the layout of `colbert-ai`."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is told of a step.

    Args:
        step: steps done, of `steps`.
        loss: of this step.
        learning_rate: of this step.
        seconds: that it took.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float


Progress = Callable[[StepReport], None]


class Distillation:
    """One run. `run` does all steps that are left.

    Args:
        encoder: is trained in place.
        data: examples and texts.
        settings: how.
        folder: of checkpoints and result; a run that finds checkpoints there goes on from them.
        processes: this one alone by default.
        tracker: gets loss, learning rate and gradient norm of each step.
        progress: called after each step; where it raises KeyboardInterrupt, a checkpoint is
            kept first.

    Raises:
        InvalidTrainingDataError: an example without scores, with fewer passages than
            `settings.ways`, or without a known language.
        InvalidParameterError: the batch cannot be divided among the processes.
        TrainingError: the folder holds checkpoints of another run, or a model without any.
    """

    def __init__(
        self,
        encoder: TrainableEncoder,
        data: TrainingData,
        settings: TrainingSettings,
        folder: Path,
        *,
        processes: Processes | None = None,
        tracker: Tracker | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._processes: Processes = processes or Alone()
        if settings.batch % self._processes.count:
            raise InvalidParameterError(
                f"batch is {settings.batch}: use a multiple of the {self._processes.count} "
                "processes."
            )
        data.require_ways(settings.ways)
        data.require_languages(encoder.checkpoint)
        if settings.loss == "distil":
            data.require_scores()
        self._encoder = encoder.to(self._processes.device)
        self._tokens = _tokenization(encoder, settings.document_tokens)
        self._data, self._settings, self._folder = data, settings, folder
        self._tracker, self._progress = tracker or NoTracker(), progress
        self._optimiser = torch.optim.AdamW(_groups(encoder, settings), lr=settings.learning_rate)
        self._checkpoints = Checkpoints(folder / "checkpoints", self._identity())
        self.step = self._checkpoints.restore(encoder, self._optimiser)
        if self.step == 0 and (folder / MODEL).exists():
            raise TrainingError(
                f"{folder / MODEL} is there, and no checkpoint that it came from: it would be "
                "overwritten. Give another output folder, or move it away"
            )

    def run(self, *, until: int | None = None) -> Path:
        """Train, write the result in both layouts, and return the folder of PyLate's.

        Args:
            until: stop after so many steps in all, with a checkpoint and without a result.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        self._encoder.train(self._settings.dropout)
        last = min(self._settings.steps, until or self._settings.steps)
        while self.step < last:
            self._advance()
            if self.step % self._settings.save_every == 0 or self.step == last:
                self._save()
        self._tracker.close()
        self._encoder.eval()
        if self.step == self._settings.steps and self._processes.rank == 0:
            self._write()
        self._processes.wait()
        return self._folder / MODEL

    def _advance(self) -> None:
        started = time.perf_counter()
        settings, processes = self._settings, self._processes
        rate = settings.rate(self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        pairs = order(len(self._data.examples), self.step, settings.batch, settings.seed)
        mine = pairs[processes.rank :: processes.count]
        batch = self._data.batch(mine, settings.ways, settings.seed)
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._backward(batch)
        parameters = [one for one in self._encoder.parameters() if one.requires_grad]
        processes.average(parameters)
        if self._encoder.checkpoint.languages:
            _rest_idle(parameters)
        loss = processes.mean(loss)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_gradient_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise self._diverged(loss, norm, batch)
        self._optimiser.step()
        self.step += 1
        self._tracker.log(self.step, {"loss": loss, "learning_rate": rate, "gradient_norm": norm})
        took = time.perf_counter() - started
        self._report(StepReport(self.step, settings.steps, loss, rate, took))

    def _report(self, report: StepReport) -> None:
        if self._progress is None:
            return
        try:
            self._progress(report)
        except KeyboardInterrupt:
            # Between two steps all is whole; the other processes of several are gone by now.
            if self._processes.count == 1:
                self._save()
            raise

    def _backward(self, batch: Batch) -> float:
        tokens = self._tokens
        sequences = tokens.queries([one.text for one in batch.queries])
        sequences += tokens.passages([one.text for one in batch.passages])
        languages = [one.language for one in (*batch.queries, *batch.passages)]
        seed = (self._settings.seed * 1_000_003 + self.step) * 1024 + self._processes.rank
        # The seeds of dropout are ours to set only for as long as a step takes.
        with torch.random.fork_rng(devices=_cuda(self._processes.device)):
            return accumulate_gradients(
                self._encoder,
                sequences,
                languages,
                lambda rows: batch_loss(batch, rows, self._settings),
                most_tokens=self._settings.chunk_tokens,
                seed=seed,
                precision=self._precision,
            )

    def _precision(self) -> AbstractContextManager[object]:
        kind = self._processes.device.type
        half = self._settings.dtype == "bf16"
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=half)

    def _diverged(self, loss: float, norm: float, batch: Batch) -> TrainingError:
        lines = ", ".join(one.where for one in batch.examples[:3])
        return TrainingError(
            f"step {self.step + 1} gave a loss of {loss} and a gradient of length {norm}: training "
            f"has diverged (its first examples: {lines}). Lower the learning rate, use "
            "dtype='fp32', or look at those examples"
        )

    def _identity(self) -> dict[str, object]:
        return {
            **self._settings.identity(),
            "data": self._data.fingerprint(),
            "processes": self._processes.count,
            "start": weights_digest(self._encoder),
        }

    def _save(self) -> None:
        if self._processes.rank == 0:
            self._checkpoints.save(self.step, self._encoder, self._optimiser)
        self._processes.wait()

    def _write(self) -> None:
        try:
            # PyLate's comes last: where it stands, all is done.
            self._write_hf_colbert()
            write_pylate(self._encoder, self._folder / MODEL)
        except (OSError, SafetensorError) as error:
            raise StorageError(
                f"the model cannot be written to {self._folder} ({error}): make room there, and "
                "run the same again; it writes the model from the last checkpoint"
            ) from error

    def _write_hf_colbert(self) -> None:
        try:
            write_hf_colbert(self._encoder, self._folder / HF_COLBERT)
        except CheckpointError as error:
            _logger.warning("only PyLate's layout is written: %s", error)


def batch_loss(batch: Batch, rows: list[torch.Tensor], settings: TrainingSettings) -> torch.Tensor:
    """The loss of a batch.

    Args:
        batch: its examples.
        rows: unit vectors [kept, dim] of each query, then of each passage.
        settings: which loss.
    """
    count = len(batch.examples)
    queries = pad(torch.cat(rows[:count]), [len(some) for some in rows[:count]])
    passages = pad(torch.cat(rows[count:]), [len(some) for some in rows[count:]])
    scores = maxsim(*queries, *passages)
    ways = settings.ways
    numbers = torch.arange(count, device=scores.device)
    columns = numbers[:, None] * ways + torch.arange(ways, device=scores.device)
    own = scores.gather(1, columns)
    if settings.loss == "binary":
        loss = binary_loss(own, temperature=settings.temperature)
    else:
        labels = [one.scores for one in batch.examples]
        teacher = torch.tensor(labels, dtype=scores.dtype, device=scores.device)
        loss = distillation_loss(
            own,
            teacher,
            temperature=settings.temperature,
            teacher_temperature=settings.teacher_temperature,
        )
    if settings.in_batch and count > 1:
        excluded = excluded_columns(batch).to(scores.device)
        other = in_batch_loss(scores, numbers * ways, excluded, temperature=settings.temperature)
        loss = loss + settings.in_batch * other
    return loss


def excluded_columns(batch: Batch) -> torch.Tensor:
    """Which passages of the batch a query is not compared with, bool [queries, passages].

    Its own negatives, and all passages of its examples wherever else they stand: the positive of
    two queries must not count as wrong for either, nor the second positive of one query against
    the first, each in an example of its own.
    """
    ids = [id for one in batch.examples for id in one.passage_ids]
    ways = len(batch.examples[0].passage_ids)
    own: dict[str, set[str]] = {}
    for one in batch.examples:
        own.setdefault(one.query_id, set()).update(one.passage_ids)
    excluded = torch.tensor([[id in own[one.query_id] for id in ids] for one in batch.examples])
    for number in range(len(batch.examples)):
        excluded[number, number * ways] = False
    return excluded


def _tokenization(encoder: TrainableEncoder, document_tokens: int) -> Tokenization:
    """The encoder's own, or one that cuts passages earlier."""
    checkpoint = encoder.checkpoint
    if not 0 < document_tokens < checkpoint.rules.document_maxlen:
        return encoder.tokenization
    shorter = replace(checkpoint.rules, document_maxlen=document_tokens)
    return Tokenization(replace(checkpoint, rules=shorter))


def _groups(encoder: TrainableEncoder, settings: TrainingSettings) -> list[dict[str, object]]:
    """Matrices decay towards zero; biases and norms do not."""
    parameters = [one for one in encoder.parameters() if one.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _rest_idle(parameters: list[torch.nn.Parameter]) -> None:
    """Leave alone what no text of the batch went through: decay would wear its adapter away."""
    for parameter in parameters:
        if parameter.grad is not None and not bool(parameter.grad.any()):
            parameter.grad = None


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
