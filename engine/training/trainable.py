"""A late-interaction encoder whose weights can be trained.

Tokens, markers, `[MASK]` expansion, skiplist and packing are those of `weft.engine.encoder`, by
the same code, so that a trained model gives the vectors it was trained to give.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from ..encoder.backbone import load_transformer
from ..encoder.checkpoint import Checkpoint, Layout, read_checkpoint
from ..encoder.packing import pack
from ..encoder.projection import Projection, load_projection
from ..encoder.source import locate
from ..encoder.tokenization import Tokenization, TokenSequence
from ..errors import CheckpointError


class TrainableProjection(torch.nn.Module):
    """One module of a projection, as `weft.engine.encoder.projection` computes it."""

    def __init__(self, made: Projection) -> None:
        super().__init__()
        self._made = made
        self.weight = torch.nn.Parameter(made.weight.clone())
        self.bias = None if made.bias is None else torch.nn.Parameter(made.bias.clone())
        skipped = made.residual_weight
        self.residual = None if skipped is None else torch.nn.Parameter(skipped.clone())

    @property
    def linear_only(self) -> bool:
        """Whether it is one matrix and nothing else."""
        probe = torch.tensor([-1.5, 0.5])
        same = bool(torch.equal(self._made.activation(probe), probe))
        return same and self.bias is None and not self._made.residual

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Project [n, in_features] to [n, out_features]."""
        now = Projection(
            self.weight, self.bias, self._made.activation, self._made.residual, self.residual
        )
        return now(hidden)


class TrainableEncoder(torch.nn.Module):
    """A backbone and its projection; `TrainableEncoder.load` reads one from a checkpoint.

    Args:
        checkpoint: a late-interaction checkpoint of either public layout.
        backbone: the transformer, as `transformers` builds it.
        projections: modules from hidden states to embeddings.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        backbone: torch.nn.Module,
        projections: Sequence[TrainableProjection],
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.tokenization = Tokenization(checkpoint)
        self.backbone = backbone
        self.projections = torch.nn.ModuleList(projections)

    @classmethod
    def load(cls, name: str | Path) -> TrainableEncoder:
        """Read a late-interaction checkpoint from a folder or a hub.

        Raises:
            CheckpointError: it cannot be read, is a plain encoder (`prepare` makes a start of
                one), or has X-MOD's architecture without any language adapter.
        """
        checkpoint = read_checkpoint(locate(name).folder)
        if checkpoint.layout is Layout.PLAIN:
            raise CheckpointError(
                f"{checkpoint.folder} is a plain encoder without a projection to train: make a "
                "start of it with weft.engine.training.starting.prepare"
            )
        if checkpoint.config.get("model_type") == "xmod" and not checkpoint.languages:
            raise CheckpointError(
                f"{checkpoint.backbone / 'config.json'} lists no language adapters ('languages'), "
                "without which an X-MOD backbone computes nothing"
            )
        backbone = load_transformer(checkpoint)
        width = int(backbone.config.hidden_size)
        made = load_projection(checkpoint, width, torch.device("cpu"), torch.float32)
        encoder = cls(checkpoint, backbone.float(), [TrainableProjection(one) for one in made])
        drop_unused(backbone)
        return encoder

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def forward(
        self, sequences: Sequence[TokenSequence], language: str | None = None
    ) -> torch.Tensor:
        """Unit vectors of the kept tokens, [sum of kept, dim], sequence after sequence.

        Args:
            sequences: of one language, from `tokenization`.
            language: an adapter of the backbone, or None where it has none.
        """
        packed = pack(sequences, self.tokenization.vocabulary.padding)
        ids = torch.from_numpy(packed.ids).to(self.device)
        attention = torch.from_numpy(packed.attention).to(self.device)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": attention.long()}
        if language is not None:
            adapter = self.checkpoint.languages.index(language)
            inputs["lang_ids"] = ids.new_full((len(ids),), adapter)
        hidden: torch.Tensor = self.backbone(**inputs).last_hidden_state
        rows = torch.from_numpy(packed.rows).to(self.device)
        kept = hidden.flatten(0, 1).index_select(0, rows)
        for projection in self.projections:
            kept = projection(kept)
        precise = kept if kept.dtype == torch.float64 else kept.float()
        return normalize(precise, dim=-1)


def drop_unused(backbone: torch.nn.Module) -> None:
    """Leave out a pooler: it gets no gradient, and late interaction does not use it."""
    if getattr(backbone, "pooler", None) is not None:
        # Transformers' models are modules whose attributes carry no annotations.
        model: Any = backbone
        model.pooler = None
