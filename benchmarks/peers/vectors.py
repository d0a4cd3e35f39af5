"""The corpus as files that every engine's process maps, and indexes made of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.corpus import Corpus, load
from benchmarks.corpus.layout import Layout

from .catalogue import Variant
from .environments import digest
from .process import WorkerProcess

BUILD_SECONDS: Final = 4 * 3600.0
"""A build that takes longer has failed."""


@dataclass(frozen=True)
class Collection:
    """One size of the corpus in one dimension.

    Args:
        n_passages: its first so many passages.
        dim: components of each vector.
        corpus: with the exact answers.
        folder: of the files that the engines read.
    """

    n_passages: int
    dim: int
    corpus: Corpus
    folder: Path

    @property
    def n_tokens(self) -> int:
        """Number of token vectors."""
        return len(self.corpus.embeddings)

    @property
    def title(self) -> str:
        """As it stands above the tables."""
        return f"{self.n_passages:,} passages, {self.dim} dimensions"


def collection(corpus_cache: Path, cache: Path, n_passages: int, dim: int) -> Collection:
    """Load a size of the corpus and write what the engines read, where it is not there yet."""
    corpus = load(corpus_cache, n_passages, dim)
    folder = cache / "vectors" / f"{n_passages}x{dim}"
    if not (folder / "queries.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = np.load(Layout(corpus_cache).wordpieces("passages"), mmap_mode="r")
        np.save(folder / "embeddings.npy", corpus.embeddings)
        np.save(folder / "offsets.npy", corpus.offsets)
        np.save(folder / "doclens.npy", np.diff(corpus.offsets).astype(np.int32))
        np.save(folder / "wordpieces.npy", words[: len(corpus.embeddings)].astype(np.uint32))
        np.save(folder / "queries.partial.npy", np.stack(corpus.queries))
        (folder / "queries.partial.npy").rename(folder / "queries.npy")
    return Collection(n_passages, dim, corpus, folder)


def index_folder(cache: Path, data: Collection, variant: Variant) -> Path:
    """Where the index of a variant lies."""
    return cache / "indexes" / data.folder.name / variant.name


def build_index(
    data: Collection, variant: Variant, python: Path, cache: Path, threads: int, anew: bool
) -> dict[str, Any]:
    """Build an index, or take the one in the cache.

    Args:
        data: what to index.
        variant: which engine, with which options.
        python: interpreter of its environment.
        cache: of the peers.
        threads: that the build may use.
        anew: build although there is one.

    Returns:
        Seconds, processor seconds, bytes and peak memory of the build.

    Raises:
        PeerError: the engine failed.
    """
    folder = index_folder(cache, data, variant)
    record = folder.with_name(f"{variant.name}.json")
    made_from = {"options": dict(variant.options), "threads": threads, "peer": _identity(variant)}
    if record.exists() and not anew:
        found: dict[str, Any] = json.loads(record.read_text())
        if found["made_from"] == made_from:
            return found
    print(f"building {variant.title} over {data.title} ...", flush=True)
    record.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with WorkerProcess(variant, python, cache, data.folder, folder, threads=threads) as worker:
        built = dict(worker.ask("build", BUILD_SECONDS, threads=threads))
    built["made_from"] = made_from
    record.write_text(json.dumps(built, indent=1))
    print(f"  {built['seconds']:.0f} s, {built['cpu_seconds']:.0f} s of processor", flush=True)
    return built


def _identity(variant: Variant) -> str:
    return digest(variant.peer) if variant.peer else ""
