"""Indexes of the corpus, built once and found again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

import weft
from benchmarks.corpus import load
from benchmarks.corpus.loader import Corpus

BATCH = 5_000
PARTS = 100


def open_index(
    cache: Path, n_passages: int, dim: int, bits: int, *, rebuild: bool = False, threads: int = 0
) -> tuple[weft.Index, Corpus]:
    """The index of the first n_passages, built from ready embeddings where it is missing.

    A passage's id is its number, and its metadata `{"part": number % 100}`.

    Args:
        cache: where `benchmarks.corpus.build` left the vectors; the index goes to `search/`.
        n_passages: a size of the corpus.
        dim: 128 or 384.
        bits: of the residuals.
        rebuild: although it is there.
        threads: of the index that is returned.
    """
    corpus = load(cache, n_passages, dim)
    folder = cache / "search" / f"{n_passages}x{dim}x{bits}"
    if rebuild:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        build(unfinished, corpus, bits)
        unfinished.rename(folder)
    return weft.Index.open(folder, threads=threads), corpus


def build(folder: Path, corpus: Corpus, bits: int) -> None:
    """Add all passages, train and compress."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with weft.Index.create(folder, dim=corpus.dim, bits=bits, flat_below_tokens=1) as index:
        for first in range(0, corpus.n_passages, BATCH):
            numbers = range(first, min(first + BATCH, corpus.n_passages))
            index.add(
                ids=[str(number) for number in numbers],
                embeddings=[corpus.passage(number) for number in numbers],
                metadata=[{"part": number % PARTS} for number in numbers],
            )
        index.compact()


def percentile(milliseconds: list[float], share: float) -> float:
    """Of measured times, `share` of which are at most as long."""
    return float(np.percentile(milliseconds, 100 * share))
