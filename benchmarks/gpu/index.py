"""An index of made-up vectors: codec, codes, residuals, lists, and the exact answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from vectors import DIM, TOKENS, World, passages

from weft import kernels

CHUNK = 10_000  # passages at a time
K_MEANS_ROWS = 2_000_000
HELD_OUT = 200_000


@dataclass
class Built:
    """What a search needs, and what it took to make it.

    Args:
        arrays: of a segment, as `kernels.device_segment` takes them.
        codec: centroids, bucket weights and the range of inverse norms.
        best: float32 [queries, 100] exact scores, best first.
        scores: per query the exact scores of all passages, float16 on the host.
        seconds: of each part.
    """

    arrays: list[Any]
    codec: tuple[Any, Any, tuple[float, float]]
    best: Any
    scores: Any
    seconds: dict[str, float]


def train(world: World, n_centroids: int, bits: int, seconds: dict[str, float]) -> tuple[Any, ...]:
    """Centroids by k-means on the device, buckets at quantiles of held-out residuals."""
    n = max(min(K_MEANS_ROWS, 32 * n_centroids), n_centroids) // TOKENS + 1
    rows = passages(world, n, 7).reshape(-1, DIM)
    order = torch.randperm(len(rows), device=rows.device)[:n_centroids]
    builder = kernels.device_builder(np.ascontiguousarray(rows[order].float().cpu().numpy()))
    host = rows.cpu().numpy()
    start = time.perf_counter()
    builder.refine(host, 4)
    seconds[f"k-means, 4 iterations over {len(host):,} embeddings"] = time.perf_counter() - start
    centroids = builder.centroids().astype(np.float16).astype(np.float32)
    builder = kernels.device_builder(centroids)
    held = (
        passages(world, min(HELD_OUT, 64 * n_centroids) // TOKENS, 8).reshape(-1, DIM).cpu().numpy()
    )
    codes, _ = builder.assign(held)
    residuals = held.astype(np.float32) - centroids[codes]
    steps = np.arange(1, 2**bits) / 2**bits
    cutoffs = np.quantile(residuals[:20_000], steps).astype(np.float32)
    middles = (np.arange(2**bits) + 0.5) / 2**bits
    weights = np.quantile(residuals[:20_000], middles).astype(np.float32)
    buckets = np.searchsorted(cutoffs, residuals[:20_000], side="right")
    norms = np.linalg.norm(centroids[codes[:20_000]] + weights[buckets], axis=1)
    span = (float(0.98 / norms.max()), float(1.02 / norms.min()))
    return builder, centroids, cutoffs, weights, span


def exact_scores(rows: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """MaxSim of every passage with every query: float32 [queries, passages]."""
    found = []
    for some in queries.split(16):
        flat = some.reshape(-1, DIM).to(rows.dtype)
        scores = rows.reshape(-1, DIM) @ flat.T
        best = scores.reshape(len(rows), TOKENS, len(flat)).amax(dim=1).float()
        found.append(best.reshape(len(rows), len(some), -1).sum(dim=2).T)
    return torch.cat(found)


def inverted_lists(codes: Any, n_centroids: int, device: str) -> tuple[Any, Any]:
    """Offsets of a list per centroid, and pids, sorted within each."""
    numbers = torch.from_numpy(codes.astype(np.int64)).to(device)
    pids = torch.arange(len(codes), device=device) // TOKENS
    pairs = torch.unique((numbers << 32) | pids)
    counts = torch.bincount(pairs >> 32, minlength=n_centroids)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return offsets.cpu().numpy(), (pairs & 0xFFFFFFFF).cpu().numpy().astype(np.uint32)


def build(world: World, n_passages: int, n_centroids: int, bits: int, queries: Any) -> Built:
    """Make, assign and compress all passages, chunk by chunk."""
    seconds: dict[str, float] = {"assignment": 0.0, "compression": 0.0}
    builder, centroids, cutoffs, weights, span = train(world, n_centroids, bits, seconds)
    n_tokens = n_passages * TOKENS
    codes = np.empty(n_tokens, dtype=np.uint32)
    residuals = np.empty((n_tokens, DIM * bits // 8), dtype=np.uint8)
    norms = np.empty(n_tokens, dtype=np.uint8)
    scores = np.empty((len(queries), n_passages), dtype=np.float32)
    for first in range(0, n_passages, CHUNK):
        rows = passages(world, min(CHUNK, n_passages - first), 1000 + first)
        end = first + len(rows)
        scores[:, first:end] = exact_scores(rows, queries).cpu().numpy()
        host = rows.reshape(-1, DIM).cpu().numpy()
        some = slice(first * TOKENS, end * TOKENS)
        start = time.perf_counter()
        codes[some], _ = builder.assign(host)
        middle = time.perf_counter()
        residuals[some], norms[some] = builder.compress(host, codes[some], cutoffs, weights, span)
        seconds["assignment"] += middle - start
        seconds["compression"] += time.perf_counter() - middle
    start = time.perf_counter()
    offsets, pids = inverted_lists(codes, n_centroids, str(queries.device))
    seconds["inverted lists (torch)"] = time.perf_counter() - start
    passage_offsets = np.arange(n_passages + 1, dtype=np.int64) * TOKENS
    arrays = [codes, residuals, norms, None, offsets, pids, passage_offsets, n_centroids]
    best = -np.sort(-np.partition(scores, -100, axis=1)[:, -100:], axis=1)
    return Built(arrays, (centroids, weights, span), best, scores, seconds)
