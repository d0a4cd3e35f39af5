"""MaxSim of every query with every passage of a batch, with gradients, in bounded memory.

Written as one operation, since the plain way through `einsum(...).max()` keeps a tensor of all
token pairs until the backward pass: 1.5 GB for 32 queries of 32 vectors with 64 passages of 180
tokens each. Only the numbers of the best tokens are kept here.

Source: Khattab and Zaharia 2020 (ColBERT), section 3.3.
"""

from __future__ import annotations

from typing import Any, Final

import torch

_BLOCK_VALUES: Final = 1 << 24
"""Token pairs that are compared at a time."""


def maxsim(
    queries: torch.Tensor,
    query_mask: torch.Tensor,
    passages: torch.Tensor,
    passage_mask: torch.Tensor,
) -> torch.Tensor:
    """Score every query with every passage.

    A query vector gives its largest dot product with a passage's vectors, be it negative:
    nothing is clamped. Gradients flow through the best token alone, the first of equals.

    Args:
        queries: float [nq, query tokens, dim].
        query_mask: bool [nq, query tokens]: the vectors that count; the others give 0.
        passages: float [np, passage tokens, dim].
        passage_mask: bool [np, passage tokens]: the vectors that may be matched; at least one
            in each passage.

    Returns:
        Scores [nq, np] in the dtype of `queries`.

    Raises:
        ValueError: a passage without any vector.
    """
    if not bool(passage_mask.any(dim=1).all()):
        raise ValueError("a passage has no vector to match: its score would be minus infinity")
    # `apply` carries no annotations.
    apply: Any = _MaxSim.apply
    scores: torch.Tensor = apply(queries, query_mask, passages, passage_mask)
    return scores


class _MaxSim(torch.autograd.Function):
    """MaxSim with the numbers of the best tokens remembered for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: torch.Tensor,
        query_mask: torch.Tensor,
        passages: torch.Tensor,
        passage_mask: torch.Tensor,
    ) -> torch.Tensor:
        nq, length, dim = queries.shape
        flat = queries.reshape(nq * length, dim)
        scores = queries.new_empty(nq, len(passages))
        best = torch.empty(nq, length, len(passages), dtype=torch.int32, device=queries.device)
        for start, end in _blocks(len(passages), flat.shape[0] * passages.shape[1]):
            some = passages[start:end]
            similar = torch.einsum("qd,ptd->qpt", flat, some)
            similar.masked_fill_(~passage_mask[None, start:end], -torch.inf)
            values, tokens = similar.max(dim=2)
            values = values.view(nq, length, end - start) * query_mask[:, :, None]
            scores[:, start:end] = values.sum(dim=1)
            best[:, :, start:end] = tokens.view(nq, length, end - start)
        ctx.save_for_backward(queries, query_mask, passages, best)
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor, None]:
        queries, query_mask, passages, best = ctx.saved_tensors
        to_queries = torch.zeros_like(queries)
        to_passages = torch.zeros_like(passages)
        dim = queries.shape[2]
        counted = queries * query_mask[:, :, None]
        for start, end in _blocks(len(passages), queries.shape[0] * queries.shape[1] * dim):
            some = passages[start:end]
            flat = some.reshape(-1, dim)
            first = torch.arange(end - start, device=queries.device) * some.shape[1]
            rows = (best[:, :, start:end] + first).long()
            matched = flat[rows]
            weights = gradient[:, start:end]
            to_queries += torch.einsum("qp,qtpd->qtd", weights, matched)
            given = weights[:, None, :, None] * counted[:, :, None, :]
            block = torch.zeros_like(flat)
            block.index_add_(0, rows.reshape(-1), given.reshape(-1, dim))
            to_passages[start:end] = block.view_as(some)
        to_queries *= query_mask[:, :, None]
        return to_queries, None, to_passages, None


def _blocks(count: int, values_each: int) -> list[tuple[int, int]]:
    """Ranges of passages whose working memory stays bounded."""
    size = max(1, _BLOCK_VALUES // max(1, values_each))
    return [(start, min(count, start + size)) for start in range(0, count, size)]


def pad(rows: torch.Tensor, counts: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of several texts, one after another, as a padded batch.

    Args:
        rows: float [sum of counts, dim].
        counts: rows of each text.

    Returns:
        Vectors [texts, longest, dim], zero where there are none, and a bool mask [texts, longest].
    """
    longest = max(counts)
    lengths = torch.tensor(counts, device=rows.device)
    mask = torch.arange(longest, device=rows.device)[None, :] < lengths[:, None]
    padded = rows.new_zeros(len(counts), longest, rows.shape[1])
    return padded.masked_scatter(mask[:, :, None], rows), mask
