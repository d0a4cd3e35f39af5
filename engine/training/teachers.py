"""Teachers: what scores a query with passages better than the student can.

A cross-encoder (`cross_encoder.py`) reads query and passage together. Several teachers can be
blended: each one's scores are brought to mean 0 and deviation 1 within a query's list, since one
counts in logits and another in cosines.

Source: Hofstätter et al. 2020 (Improving efficient neural ranking models with cross-architecture
knowledge distillation), section 3, for ensembles of teachers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from ... import kernels
from ..encoder.backbone import quiet_transformers
from ..encoder.base import Encoder
from ..encoder.batching import plan_batches
from ..encoder.source import MINILM_NAME, locate
from ..errors import CheckpointError, InvalidParameterError, TrainingError

Scores = NDArray[np.float32]
_BATCH_TOKENS: Final = 4096
_MOST_POOLED: Final = 100_000
_FAILURES: Final = (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError)


class Teacher(Protocol):
    """Scores passages for a query; higher is better, on any scale."""

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts]."""


@runtime_checkable
class Warming(Protocol):
    """A teacher that keeps what it makes of a text: many texts at once are made faster."""

    def warm(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        """Make ready for these queries and passages."""


class MaxSimTeacher:
    """A late-interaction encoder as teacher: another model, or the student before training.

    Args:
        encoder: for both sides.
        kept: passages whose vectors are kept, in float16, since lists share many.
    """

    def __init__(self, encoder: Encoder, *, kept: int = 4096) -> None:
        self._encoder = encoder
        self._most = max(1, kept)
        self._kept: OrderedDict[str, NDArray[np.float16]] = OrderedDict()

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts]: MaxSim; a long text counts as its best passage."""
        spans = self._encoder.split_many(list(texts))
        passages = [text[a:b] for text, some in zip(texts, spans, strict=True) for a, b in some]
        rows = self._vectors(passages)
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        question = np.ascontiguousarray(self._encoder.encode_queries([query])[0])
        scores = kernels.maxsim(question, np.concatenate(rows), offsets)
        firsts = np.cumsum([0, *map(len, spans)])[:-1]
        best: Scores = np.maximum.reduceat(scores, firsts)
        return best

    def warm(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        """Encode passages together, as many as are kept."""
        spans = self._encoder.split_many(list(texts))
        passages = [text[a:b] for text, some in zip(texts, spans, strict=True) for a, b in some]
        self._vectors(list(dict.fromkeys(passages))[: self._most])

    def _vectors(self, passages: Sequence[str]) -> list[NDArray[np.float16]]:
        new = [text for text in dict.fromkeys(passages) if text not in self._kept]
        made = dict(zip(new, self._encoder.encode_passages(new), strict=True))
        made16 = {text: rows.astype(np.float16) for text, rows in made.items()}
        found = [made16[text] if text in made16 else self._kept[text] for text in passages]
        for text, rows in zip(passages, found, strict=True):
            self._kept[text] = rows
            self._kept.move_to_end(text)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found


class PooledTeacher:
    """A sentence encoder as teacher: the cosine of mean-pooled token vectors.

    Args:
        name: folder or hub name of a plain sentence encoder; None is MiniLM.
    """

    def __init__(self, name: str | Path | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = locate(MINILM_NAME if name is None else name).folder
        try:
            with quiet_transformers():
                self._model: Any = AutoModel.from_pretrained(folder, local_files_only=True).eval()
                self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except _FAILURES as error:
            raise CheckpointError(
                f"{folder} cannot be loaded as a sentence encoder: {error}"
            ) from error

        self._kept: dict[str, Scores] = {}

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts]: cosines."""
        self.warm([query], texts)
        found: Scores = np.stack([self._kept[text] for text in texts]) @ self._kept[query]
        return found

    def warm(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        """Pool texts together."""
        if len(self._kept) > _MOST_POOLED:
            self._kept.clear()
        new = [text for text in dict.fromkeys([*queries, *texts]) if text not in self._kept]
        if new:
            self._kept |= dict(zip(new, self._pooled(new), strict=True))

    def _pooled(self, texts: Sequence[str]) -> Scores:
        found = np.empty((len(texts), int(self._model.config.hidden_size)), dtype=np.float32)
        encoded = self._tokenizer(list(texts), truncation=True, max_length=256)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        with torch.inference_mode():
            for batch in plan_batches(lengths, _BATCH_TOKENS):
                some = {key: [values[n] for n in batch] for key, values in encoded.items()}
                padded = self._tokenizer.pad(some, return_tensors="pt")
                hidden = self._model(**padded).last_hidden_state
                mask = padded["attention_mask"][:, :, None]
                mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
                found[batch] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return found


class Blend:
    """Several teachers as one.

    Args:
        members: teachers and their weights, above 0.
        scale: of the result: the deviation that a list's scores have if all members agree.

    Raises:
        InvalidParameterError: no member, or a weight that is not above 0.
    """

    def __init__(self, members: Sequence[tuple[Teacher, float]], *, scale: float = 2.0) -> None:
        if not members or any(weight <= 0 for _, weight in members):
            raise InvalidParameterError("a blend needs teachers, each with a weight above 0.")
        self._members, self._scale = list(members), scale

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts]: the weighted mean of each member's standard scores."""
        total = sum(weight for _, weight in self._members)
        mixed = np.zeros(len(texts), dtype=np.float32)
        for teacher, weight in self._members:
            mixed += weight / total * standardised(teacher.score(query, texts))
        return mixed * np.float32(self._scale)

    def warm(self, queries: Sequence[str], texts: Sequence[str]) -> None:
        """Make all members ready that can be."""
        for teacher, _ in self._members:
            warm(teacher, queries, texts)


def warm(teacher: Teacher, queries: Sequence[str], texts: Sequence[str]) -> None:
    """Let a teacher that can make itself ready for many texts do so."""
    if isinstance(teacher, Warming):
        teacher.warm(queries, texts)


def standardised(scores: Scores) -> Scores:
    """Scores of a list with mean 0 and deviation 1; zeros where they are all the same.

    Raises:
        TrainingError: a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise TrainingError(
            "a teacher gave NaN or infinity; its weights are damaged, or bf16 is too coarse for "
            "it: try dtype='fp32'"
        )
    centred = scores - scores.mean(dtype=np.float64)
    deviation = float(np.sqrt(np.mean(np.square(centred, dtype=np.float64))))
    if deviation < 1e-9:
        return np.zeros_like(scores, dtype=np.float32)
    found: Scores = (centred / deviation).astype(np.float32)
    return found
