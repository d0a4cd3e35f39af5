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
from ..encoder.source import locate
from ..errors import CheckpointError
from .teachers import Scores

_BATCH_TOKENS: Final = 4096
_FAILURES: Final = (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError)


class CrossEncoder:
    """A sequence classifier of `transformers` that reads query and passage as one sequence.

    Args:
        model: with one output, or two (irrelevant and relevant).
        tokenizer: its own.
        max_tokens: longest pair; the passage is cut, not the query.
        device: where it computes.
        dtype: "fp32" or "bf16".

    Raises:
        CheckpointError: the model has another number of outputs.
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
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.model, self.tokenizer = model.to(chosen), tokenizer
        self._max_tokens, self._half = max_tokens, dtype == "bf16"

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
        longest = int(getattr(model.config, "max_position_embeddings", max_tokens))
        return cls(
            model.eval(), tokenizer, max_tokens=min(max_tokens, longest), device=device, dtype=dtype
        )

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
        found = self.tokenizer(
            list(queries),
            list(texts),
            truncation="only_second",
            max_length=self._max_tokens,
        )
        return dict(found)


def load_classifier(name: str | Path | None, outputs: int | None) -> tuple[Any, Any, list[str]]:
    """A sequence classifier, its tokenizer, and the weights that the checkpoint lacks.

    Args:
        name: folder or hub name; None is the bundled MiniLM.
        outputs: of a head that is to be trained; None takes the checkpoint's own.

    Raises:
        CheckpointError: it cannot be read.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = locate(name).folder
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
