"""Cross-encoders: models that read query and passage together, as teachers.

Source: Nogueira and Cho 2019 (Passage re-ranking with BERT).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ..encoder.backbone import quiet_transformers
from ..encoder.batching import plan_batches
from ..encoder.checkpoint import positions
from ..encoder.runtime import torch_device
from ..encoder.source import MINILM_NAME, locate
from ..errors import CheckpointError, InvalidParameterError
from .teachers import Scores

_BATCH_TOKENS: Final = 4096
_FEWEST_TOKENS: Final = 8
_FAILURES: Final = (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError)


class CrossEncoder:
    """A sequence classifier of `transformers` that reads query and passage as one sequence.

    Args:
        model: with one output, or two (irrelevant and relevant).
        tokenizer: its own.
        max_tokens: longest pair, or what the model's positions allow where that is less. The
            passage is cut, and the query only where it would take more than half.
        device: where it computes.
        dtype: "fp32" or "bf16".

    Raises:
        CheckpointError: the model has another number of outputs.
        InvalidParameterError: `max_tokens` leaves no room for a pair, or no such device.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_tokens: int = 512,
        device: str = "auto",
        dtype: str = "fp32",
    ) -> None:
        outputs = int(model.config.num_labels)
        if outputs not in (1, 2):
            raise CheckpointError(
                f"the teacher has {outputs} outputs: a cross-encoder gives one score, or two for "
                "irrelevant and relevant"
            )
        longest = positions(model.config.to_dict())
        if max_tokens < _FEWEST_TOKENS:
            raise InvalidParameterError(
                f"max_tokens is {max_tokens}: use {_FEWEST_TOKENS} to {longest}, the positions of "
                "the teacher."
            )
        self.model, self.tokenizer = model.to(torch_device(device)), tokenizer
        self._max_tokens, self._half = min(max_tokens, longest), dtype == "bf16"

    @classmethod
    def load(
        cls, name: str | Path, *, max_tokens: int = 512, device: str = "auto", dtype: str = "fp32"
    ) -> CrossEncoder:
        """Read a cross-encoder from a folder or a hub.

        Raises:
            CheckpointError: it cannot be read, or has no trained head.
        """
        model, tokenizer, missing = load_classifier(name, None)
        if missing:
            raise CheckpointError(
                f"{name} is no cross-encoder: its weights lack {missing[0]!r}. Train one from it "
                "with weft train teacher"
            )
        return cls(model.eval(), tokenizer, max_tokens=max_tokens, device=device, dtype=dtype)

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts]: logits of relevance."""
        return self.score_pairs([query] * len(texts), texts)

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> Scores:
        """float32 [pairs]: logits of relevance of each query with the text beside it."""
        encoded = self._encode(queries, texts)
        scores = np.empty(len(texts), dtype=np.float32)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        with torch.inference_mode():
            for batch in plan_batches(lengths, _BATCH_TOKENS):
                some = {key: [values[n] for n in batch] for key, values in encoded.items()}
                scores[batch] = self.forward(some).float().cpu().numpy()
        return scores

    def forward(self, encoded: dict[str, list[list[int]]]) -> torch.Tensor:
        """Scores [pairs] of tokenised pairs, with gradients where they are wanted."""
        padded = self.tokenizer.pad(encoded, return_tensors="pt").to(self.model.device)
        kind = self.model.device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self._half):
            logits: torch.Tensor = self.model(**padded).logits.float()
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

    def tokenise(self, queries: Sequence[str], texts: Sequence[str]) -> dict[str, list[list[int]]]:
        """Tokenised pairs, for `forward`."""
        return self._encode(queries, texts)

    def save(self, folder: Path) -> None:
        """Write it where `load` and `transformers` find it."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def _encode(self, queries: Sequence[str], texts: Sequence[str]) -> dict[str, list[list[int]]]:
        shorter = {query: self._cut(query) for query in dict.fromkeys(queries)}
        found = self.tokenizer(
            [shorter[query] for query in queries],
            list(texts),
            truncation="only_second",
            max_length=self._max_tokens,
        )
        return dict(found)

    def _cut(self, query: str) -> str:
        """A query that leaves half of the tokens to the passage."""
        most = self._max_tokens // 2
        # A tokenizer without offsets, in Python, is left to cut the passage alone.
        if not self.tokenizer.is_fast or len(query) <= most:
            return query
        found = self.tokenizer(query, add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in found["offset_mapping"]]
        return query if len(ends) <= most else query[: ends[most - 1]]


def load_classifier(name: str | Path | None, outputs: int | None) -> tuple[Any, Any, list[str]]:
    """A sequence classifier, its tokenizer, and the weights that the checkpoint lacks.

    Args:
        name: folder or hub name; None is MiniLM.
        outputs: of a head that is to be trained; None takes the checkpoint's own.

    Raises:
        CheckpointError: it cannot be read.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = locate(MINILM_NAME if name is None else name).folder
    chosen = {} if outputs is None else {"num_labels": outputs}
    try:
        with quiet_transformers():
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **chosen,
            )
    except _FAILURES as error:
        raise CheckpointError(
            f"{folder} cannot be loaded as a sequence classifier "
            f"({type(error).__name__}: {error}); Weft loads what transformers supports itself and "
            "never runs a checkpoint's own code"
        ) from error
    missing = sorted(report["missing_keys"])
    return model, tokenizer, missing
