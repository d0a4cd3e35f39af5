"""Gradients of a large batch in the memory of a small one.

Contrastive losses need all embeddings of a batch at once, but not all activations: texts are
encoded once without a graph, the loss gives the gradient of each embedding, and then each chunk
is encoded again, with a graph, and receives its share. The gradient is the same.

Source: Gao et al. 2021 (Scaling deep contrastive learning batch size under memory limited
setup), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import torch

from ..encoder.batching import plan_batches
from ..encoder.languages import group_by_language
from ..encoder.tokenization import TokenSequence
from .trainable import TrainableEncoder

# More tokens at once leave a CPU's caches, fewer leave a GPU idle.
_CPU_CHUNK_TOKENS: Final = 4096
_CUDA_CHUNK_TOKENS: Final = 32_768

LossOf = Callable[[list[torch.Tensor]], torch.Tensor]
"""From one [kept, dim] tensor per sequence to the loss."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    members: list[int]
    language: str | None
    seed: int


def accumulate_gradients(
    encoder: TrainableEncoder,
    sequences: Sequence[TokenSequence],
    languages: Sequence[str | None],
    loss_of: LossOf,
    *,
    most_tokens: int,
    seed: int,
    precision: Callable[[], AbstractContextManager[object]],
    caching: bool | None = None,
) -> float:
    """Add the loss's gradient to the encoder's parameters and return the loss.

    Args:
        sequences: everything the loss looks at, queries and passages alike.
        languages: one per sequence, for backbones with adapters.
        loss_of: gets the unit vectors of each sequence, in order.
        most_tokens: tokens whose activations may be in memory at a time.
        seed: of dropout: a chunk that is encoded twice must drop the same units.
        precision: makes the context in which the model computes.
        caching: demand or forbid it; None decides by `most_tokens`.
    """
    chunks = _plan(encoder, sequences, languages, most_tokens, seed)

    def encode(chunk: _Chunk) -> torch.Tensor:
        torch.manual_seed(chunk.seed)
        with precision():
            rows: torch.Tensor = encoder([sequences[n] for n in chunk.members], chunk.language)
            return rows

    total = sum(len(one.ids) for one in sequences)
    if not (total > most_tokens if caching is None else caching):
        loss = loss_of(_by_sequence(sequences, chunks, [encode(chunk) for chunk in chunks]))
        torch.autograd.backward([loss])
        return float(loss.detach())
    with torch.no_grad():
        rows = [encode(chunk) for chunk in chunks]
    leaves = [some.detach().requires_grad_() for some in rows]
    loss = loss_of(_by_sequence(sequences, chunks, leaves))
    torch.autograd.backward([loss])
    for chunk, leaf in zip(chunks, leaves, strict=True):
        torch.autograd.backward([encode(chunk)], [leaf.grad])
    return float(loss.detach())


def _plan(
    encoder: TrainableEncoder,
    sequences: Sequence[TokenSequence],
    languages: Sequence[str | None],
    most_tokens: int,
    seed: int,
) -> list[_Chunk]:
    """Chunks of one language and like lengths."""
    on_gpu = encoder.device.type == "cuda"
    size = min(most_tokens, _CUDA_CHUNK_TOKENS if on_gpu else _CPU_CHUNK_TOKENS)
    chunks: list[_Chunk] = []
    groups = group_by_language(encoder.checkpoint, len(sequences), languages)
    for language, members in groups.items():
        for batch in plan_batches([len(sequences[n].ids) for n in members], size):
            number = (seed * 1_000_003 + len(chunks)) % 2**63
            chunks.append(_Chunk([members[n] for n in batch], language, number))
    return chunks


def _by_sequence(
    sequences: Sequence[TokenSequence], chunks: list[_Chunk], rows: list[torch.Tensor]
) -> list[torch.Tensor]:
    found: list[torch.Tensor | None] = [None] * len(sequences)
    for chunk, some in zip(chunks, rows, strict=True):
        counts = [len(sequences[n].kept) for n in chunk.members]
        for number, part in zip(chunk.members, torch.split(some, counts), strict=True):
            found[number] = part
    return [part for part in found if part is not None]
