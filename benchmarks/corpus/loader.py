"""Read a finished corpus: mapped vectors, queries, exact answers and recall against them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .layout import DIMS, N_QUERIES, CorpusError, Layout

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Corpus:
    """Passages, queries and the exact answers to them.

    Args:
        embeddings: float16 [n_tokens, dim], L2-normalised, mapped read-only.
        offsets: int64 [n_passages + 1], into embeddings.
        queries: float32 [32, dim] each, L2-normalised.
        exact_ids: int64 [queries, 200], passage numbers, best first.
        exact_scores: float32 [queries, 200], fp32 MaxSim of those.
        all_scores: float32 [queries, n_passages], mapped read-only.
    """

    embeddings: Array
    offsets: Array
    queries: list[Array]
    exact_ids: Array
    exact_scores: Array
    all_scores: Array

    @property
    def dim(self) -> int:
        """Components of each vector."""
        return int(self.embeddings.shape[1])

    @property
    def n_passages(self) -> int:
        """Number of passages."""
        return len(self.offsets) - 1

    def passage(self, number: int) -> Array:
        """float16 [tokens, dim] of one passage, mapped."""
        return np.asarray(self.embeddings[self.offsets[number] : self.offsets[number + 1]])

    def recalls(self, k: int, ids: Sequence[Sequence[int] | Array]) -> Array:
        """Recall of each query's answer.

        A passage counts if its exact score is at least the exact k-th score less 1e-4, so that
        equally good passages are not told apart; one returned twice counts once.

        Args:
            k: how many passages were asked for, 1 to 200.
            ids: for each query the passage numbers returned; those after the k-th are ignored.

        Returns:
            float64 [queries], 0 to 1.

        Raises:
            CorpusError: k is out of range, or there is not one answer per query.
        """
        depth = self.exact_scores.shape[1]
        if not 1 <= k <= depth:
            raise CorpusError(f"k must be 1 to {depth}, not {k}")
        if len(ids) != len(self.queries):
            raise CorpusError(f"{len(ids)} answers to {len(self.queries)} queries")
        out = np.empty(len(ids))
        for i, answer in enumerate(ids):
            found = np.unique(np.asarray(answer[:k], dtype=np.int64))
            least = self.exact_scores[i, k - 1] - TOLERANCE
            out[i] = np.count_nonzero(self.all_scores[i, found] >= least) / k
        return out

    def recall(self, k: int, ids: Sequence[Sequence[int] | Array]) -> float:
        """Mean of `recalls`."""
        return float(self.recalls(k, ids).mean())


def load(cache: Path | str, n_passages: int, dim: int, queries: str = "test") -> Corpus:
    """Open the first n_passages of the corpus.

    Args:
        cache: folder that `benchmarks.corpus.build` filled.
        n_passages: a size that it finished: 10,000, 40,000 or 100,000.
        dim: 128 (projected) or 384 (the model's own).
        queries: `test`, or `tune` for settings that are then measured on `test`.

    Raises:
        CorpusError: the cache lacks that size or dimension, or there are no such queries.
    """
    layout = Layout(Path(cache))
    layout.read_settings()
    if dim not in DIMS or queries not in N_QUERIES:
        raise CorpusError(f"dim is one of {DIMS}, queries one of {tuple(N_QUERIES)}")
    path = layout.truth(n_passages, dim)
    if not path.exists():
        there = sorted(file.name for file in layout.cache.glob("truth*.npz"))
        raise CorpusError(f"{path.name} is not finished; there are {', '.join(there) or 'none'}")
    first = 0 if queries == "test" else N_QUERIES["test"]
    chosen = slice(first, first + N_QUERIES[queries])
    offsets = np.load(layout.offsets("passages"))[: n_passages + 1]
    with np.load(path) as truth:
        exact_ids, exact_scores = truth["ids"][chosen], truth["scores"][chosen]
    return Corpus(
        embeddings=np.load(layout.vectors("passages", dim), mmap_mode="r")[: offsets[-1]],
        offsets=offsets,
        queries=_queries(layout, dim)[chosen],
        exact_ids=exact_ids,
        exact_scores=exact_scores,
        all_scores=np.load(layout.scores(dim), mmap_mode="r")[chosen, :n_passages],
    )


def _queries(layout: Layout, dim: int) -> list[Array]:
    vectors = np.load(layout.vectors("queries", dim))
    return np.split(vectors, np.load(layout.offsets("queries"))[1:-1])


def read_texts(cache: Path | str, kind: str = "passages") -> Iterator[str]:
    """Texts in the order of the numbers; kind is passages or queries (test, then tune).

    A query's text is its whole held-out passage: only its first 32 wordpieces were encoded.
    """
    layout = Layout(Path(cache))
    layout.read_settings()
    with layout.texts(kind).open(encoding="utf-8") as file:
        for line in file:
            yield str(json.loads(line)["text"])
