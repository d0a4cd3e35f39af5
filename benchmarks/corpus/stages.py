"""The stages that turn passages into vectors and exact scores, one shard at a time.

Each function goes through the shards of the first n passages, skips those with a mark and marks
those that it finished. `build.py` runs them in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from .layout import (
    DEPTH,
    DIMS,
    MODEL_DIM,
    SHARD,
    SIZES,
    Layout,
    open_array,
    shard_rows,
    shards_of,
)
from .model import TokenEncoder
from .scoring import score_passages

Array = np.ndarray[Any, Any]
SAMPLE = 200_000
QUERIES_AT_ONCE = 25


def _todo(layout: Layout, stage: str, n_passages: int) -> Iterator[int]:
    """Shards without a mark; a shard gets its mark when the next one is asked for."""
    shards = [s for s in shards_of(n_passages) if not layout.mark(stage, s).exists()]
    layout.mark(stage, 0).parent.mkdir(exist_ok=True)
    for count, shard in enumerate(shards, 1):
        start = time.perf_counter()
        yield shard
        layout.mark(stage, shard).touch()
        seconds = time.perf_counter() - start
        print(f"{stage}: shard {shard} in {seconds:.1f} s, {count}/{len(shards)}", flush=True)


def encode(layout: Layout, n_passages: int, make_encoder: Callable[[], TokenEncoder]) -> None:
    """Write float16 vectors of the model's own dimension; make_encoder is asked only at need."""
    offsets = np.load(layout.offsets("passages"))
    wordpieces = np.load(layout.wordpieces("passages"), mmap_mode="r")
    vectors = open_array(
        layout.vectors("passages", MODEL_DIM), (int(offsets[-1]), MODEL_DIM), "<f2"
    )
    encoder = None
    for shard in _todo(layout, "encode", n_passages):
        encoder = encoder or make_encoder()
        bounds = offsets[shard * SHARD : (shard + 1) * SHARD + 1]
        pieces = [wordpieces[a:b] for a, b in pairwise(bounds)]
        vectors[shard_rows(offsets, shard)] = encoder.encode(pieces)
        vectors.flush()


def encode_queries(layout: Layout, make_encoder: Callable[[], TokenEncoder]) -> None:
    """Write float32 vectors of the queries unless they are there."""
    path = layout.vectors("queries", MODEL_DIM)
    if path.exists():
        return
    offsets = np.load(layout.offsets("queries"))
    wordpieces = np.load(layout.wordpieces("queries"))
    np.save(path, make_encoder().encode(np.split(wordpieces, offsets[1:-1])))


def fit_projection(layout: Layout, dim: int) -> None:
    """Fit mean and leading components to tokens of the first passages, unless they are there."""
    if layout.projection.exists():
        return
    offsets = np.load(layout.offsets("passages"))
    vectors = np.load(layout.vectors("passages", MODEL_DIM), mmap_mode="r")
    n_tokens = int(offsets[min(SIZES[0], len(offsets) - 1)])
    chosen = np.random.default_rng(0).choice(n_tokens, min(SAMPLE, n_tokens), replace=False)
    sample = vectors[np.sort(chosen)].astype(np.float32)
    mean = sample.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(np.cov((sample - mean).T.astype(np.float64)))
    kept = slice(-1, -dim - 1, -1)
    share = values[kept].sum() / values.sum()
    np.savez(layout.projection, mean=mean, axes=axes[:, kept].T, share_of_variance=share)


def project(layout: Layout, n_passages: int, dim: int) -> None:
    """Write projected, normalised float16 vectors of passages and float32 ones of queries."""
    with np.load(layout.projection) as file:
        mean, axes = file["mean"].astype(np.float32), file["axes"].astype(np.float32)

    def projected(rows: Array) -> Array:
        out = (rows.astype(np.float32) - mean) @ axes.T
        return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), dtype=np.float32)

    if not layout.vectors("queries", dim).exists():
        queries = np.load(layout.vectors("queries", MODEL_DIM))
        np.save(layout.vectors("queries", dim), projected(queries))
    offsets = np.load(layout.offsets("passages"))
    source = np.load(layout.vectors("passages", MODEL_DIM), mmap_mode="r")
    target = open_array(layout.vectors("passages", dim), (int(offsets[-1]), dim), "<f2")
    for shard in _todo(layout, f"project{dim}", n_passages):
        rows = shard_rows(offsets, shard)
        target[rows] = projected(source[rows])
        target.flush()


def score(layout: Layout, n_passages: int, dim: int) -> None:
    """Write exact scores of all queries against each shard."""
    offsets = np.load(layout.offsets("passages"))
    query_offsets = np.load(layout.offsets("queries"))
    queries = np.load(layout.vectors("queries", dim))
    vectors = np.load(layout.vectors("passages", dim), mmap_mode="r")
    n_queries = len(query_offsets) - 1
    scores = open_array(layout.scores(dim), (n_queries, len(offsets) - 1), "<f4")
    for shard in _todo(layout, f"score{dim}", n_passages):
        bounds = offsets[shard * SHARD : (shard + 1) * SHARD + 1]
        rows = vectors[bounds[0] : bounds[-1]].astype(np.float32)
        columns = slice(shard * SHARD, shard * SHARD + len(bounds) - 1)
        for first in range(0, n_queries, QUERIES_AT_ONCE):
            last = min(first + QUERIES_AT_ONCE, n_queries)
            some = queries[query_offsets[first] : query_offsets[last]]
            lengths = np.diff(query_offsets[first : last + 1])
            scores[first:last, columns] = score_passages(some, lengths, rows, bounds - bounds[0])
        scores.flush()


def write_truth(layout: Layout, n_passages: int, dim: int) -> None:
    """Keep the best passages of each query among the first n_passages, best first."""
    path = layout.truth(n_passages, dim)
    if path.exists():
        return
    scores = np.load(layout.scores(dim), mmap_mode="r")[:, :n_passages]
    ids = np.empty((len(scores), min(DEPTH, n_passages)), dtype=np.int64)
    for row, line in zip(ids, scores, strict=True):
        row[:] = np.argsort(-line, kind="stable")[: len(row)]
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, scores=np.take_along_axis(scores, ids, axis=1), ids=ids)
    partial.rename(path)


def finish(layout: Layout, n_passages: int, make_encoder: Callable[[], TokenEncoder]) -> None:
    """All stages for the first n_passages; the projected vectors and their truth come first."""
    encode_queries(layout, make_encoder)
    encode(layout, n_passages, make_encoder)
    for dim in DIMS:
        if dim != MODEL_DIM:
            fit_projection(layout, dim)
            project(layout, n_passages, dim)
        score(layout, n_passages, dim)
        write_truth(layout, n_passages, dim)
