"""Trains a cross-encoder where none is at hand: from judgements with mined negatives, or queries
that were made for passages.

Source: Nogueira and Cho 2019 (Passage re-ranking with BERT); Gao et al. 2021 (Rethink training of
BERT rerankers) for the listwise loss over mined negatives.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn import functional

from ..errors import InvalidParameterError, TrainingError
from .checkpoints import Checkpoints
from .cross_encoder import CrossEncoder, load_classifier
from .data import Batch, TrainingData, order
from .distillation import Progress, StepReport
from .identity import weights_digest
from .processes import Alone, Processes
from .settings import TrainingSettings
from .tracking import NoTracker, Tracker

KINDS: Final = ("listwise", "pairwise")


def listwise_loss(scores: torch.Tensor) -> torch.Tensor:
    """Cross entropy of lists, float [queries, ways], with the first passage as the right one."""
    first = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    return functional.cross_entropy(scores, first)


def pairwise_loss(scores: torch.Tensor) -> torch.Tensor:
    """Logistic loss of the first passage's lead over each other one, mean over pairs."""
    return functional.softplus(scores[:, 1:] - scores[:, :1]).mean()


class TeacherTraining:
    """One run; it goes on from its own checkpoints, as distillation does.

    Args:
        start: folder or hub name of a backbone or cross-encoder; None is MiniLM.
        data: examples with the positive first; scores are not looked at.
        settings: `loss`, temperatures and `in_batch` are not looked at.
        folder: of checkpoints and result.
        kind: "listwise" or "pairwise".
        max_tokens: longest pair of query and passage.
        processes: this one alone by default.
        tracker: gets loss and learning rate of each step.
        progress: called after each step.

    Raises:
        CheckpointError: the start cannot be read.
        InvalidParameterError: an unknown kind, or a batch that cannot be divided among the
            processes.
        InvalidTrainingDataError: an example with fewer passages than `settings.ways`.
        TrainingError: the folder holds checkpoints of another run.
    """

    def __init__(
        self,
        start: str | Path | None,
        data: TrainingData,
        settings: TrainingSettings,
        folder: Path,
        *,
        kind: str = "listwise",
        max_tokens: int = 256,
        processes: Processes | None = None,
        tracker: Tracker | None = None,
        progress: Progress | None = None,
    ) -> None:
        if kind not in KINDS:
            raise InvalidParameterError(f"kind is {kind!r}: use one of {', '.join(KINDS)}.")
        data.require_ways(settings.ways)
        self._processes: Processes = processes or Alone()
        if settings.batch % self._processes.count:
            raise InvalidParameterError(
                f"batch is {settings.batch}: use a multiple of the {self._processes.count} "
                "processes."
            )
        with torch.random.fork_rng(devices=[]):
            # A head that the start lacks is drawn at random, the same for the same seed.
            torch.manual_seed(settings.seed)
            model, tokenizer, _ = load_classifier(start, 1)
        self._model: Any = model.float().to(self._processes.device)
        self._teacher = CrossEncoder(
            self._model,
            tokenizer,
            max_tokens=max_tokens,
            device=str(self._processes.device),
            dtype=settings.dtype,
        )
        self._loss = listwise_loss if kind == "listwise" else pairwise_loss
        self._data, self._settings, self._folder = data, settings, folder
        self._tracker, self._progress = tracker or NoTracker(), progress
        self._optimiser = torch.optim.AdamW(
            self._model.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        identity = {
            **settings.identity(),
            "kind": kind,
            "max_tokens": max_tokens,
            "data": data.fingerprint(),
            "processes": self._processes.count,
            "start": weights_digest(self._model),
        }
        self._checkpoints = Checkpoints(folder / "checkpoints", identity)
        self.step = self._checkpoints.restore(self._model, self._optimiser)

    def run(self) -> Path:
        """Train, write the cross-encoder and return its folder.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        settings = self._settings
        self._model.train(settings.dropout)
        while self.step < settings.steps:
            self._advance()
            if self.step % settings.save_every == 0 or self.step == settings.steps:
                self._save()
        self._model.eval()
        place = self._folder / "teacher"
        if self._processes.rank == 0:
            self._teacher.save(place)
        self._tracker.close()
        self._processes.wait()
        return place

    def _save(self) -> None:
        if self._processes.rank == 0:
            self._checkpoints.save(self.step, self._model, self._optimiser)
        self._processes.wait()

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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed * 1_000_003 + self.step + (processes.rank << 52))
            loss = self._backward(batch)
        processes.average(self._model.parameters())
        loss = processes.mean(loss)
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), settings.max_gradient_norm)
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            raise TrainingError(
                f"step {self.step + 1} gave a loss of {loss}: training has diverged. Lower the "
                "learning rate, or use dtype='fp32'"
            )
        self._optimiser.step()
        self.step += 1
        self._tracker.log(self.step, {"loss": loss, "learning_rate": rate})
        if self._progress is not None:
            took = time.perf_counter() - started
            self._progress(StepReport(self.step, settings.steps, loss, rate, took))

    def _backward(self, batch: Batch) -> float:
        """One list at a time: the losses of lists do not depend on each other."""
        ways = self._settings.ways
        total = 0.0
        for number, query in enumerate(batch.queries):
            texts = [one.text for one in batch.passages[number * ways : (number + 1) * ways]]
            encoded = self._teacher.tokenise([query.text] * ways, texts)
            loss = self._loss(self._teacher.forward(encoded)[None]) / len(batch.queries)
            torch.autograd.backward([loss])
            total += float(loss.detach())
        return total
