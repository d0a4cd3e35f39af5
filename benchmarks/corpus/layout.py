"""Where the parts of the corpus lie in its cache folder, and what is finished there.

The vectors of all passages lie in one array per dimension, allocated at full size and filled
shard by shard, so that a benchmark maps one file whatever the number of passages. A shard is
marked as done only after its rows are on disk: an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHARD = 1_000
SIZES = (10_000, 40_000, 100_000)
DIMS = (128, 384)
MODEL_DIM = 384
N_QUERIES = {"test": 200, "tune": 200}
QUERY_TOKENS = 32
DEPTH = 200
SEED = 20240607


class CorpusError(Exception):
    """The cache lacks what was asked for, or holds something else."""


@dataclass(frozen=True)
class Layout:
    """File names inside one cache folder.

    Args:
        cache: the folder; created by the build.
    """

    cache: Path

    @property
    def packages(self) -> Path:
        """Debian packages as fetched."""
        return self.cache / "packages"

    @property
    def unpacked(self) -> Path:
        """Contents of the packages."""
        return self.cache / "unpacked"

    @property
    def settings(self) -> Path:
        """What the passages were made from: written last, so it says that they are complete."""
        return self.cache / "settings.json"

    def texts(self, kind: str) -> Path:
        """One JSON object per passage or query, in their order; kind: passages or queries."""
        return self.cache / f"{kind}.jsonl"

    def wordpieces(self, kind: str) -> Path:
        """Wordpiece numbers, uint16, one after the other."""
        return self.cache / f"{kind}.wordpieces.npy"

    def offsets(self, kind: str) -> Path:
        """int64, one more than there are passages or queries."""
        return self.cache / f"{kind}.offsets.npy"

    def vectors(self, kind: str, dim: int) -> Path:
        """Token vectors: float16 of the passages, float32 of the queries."""
        return self.cache / f"{kind}.vectors{dim}.npy"

    @property
    def projection(self) -> Path:
        """Mean and axes of the projection to fewer dimensions."""
        return self.cache / "projection.npz"

    def scores(self, dim: int) -> Path:
        """Exact scores of all queries (test, then tune) and passages: float32 [queries, n]."""
        return self.cache / f"scores{dim}.npy"

    def truth(self, n_passages: int, dim: int) -> Path:
        """The best passages of each query among the first n_passages."""
        return self.cache / f"truth{dim}.{n_passages}.npz"

    def mark(self, stage: str, shard: int) -> Path:
        """Exists once the stage is done with the shard."""
        return self.cache / "done" / f"{stage}.{shard:03d}"

    def read_settings(self) -> dict[str, Any]:
        """What the passages were made from.

        Raises:
            CorpusError: there are no passages yet.
        """
        if not self.settings.exists():
            raise CorpusError(
                f"no corpus in {self.cache}; build one: python -m benchmarks.corpus.build "
                f"--cache {self.cache}"
            )
        settings: dict[str, Any] = json.loads(self.settings.read_text())
        return settings

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second build out of the cache.

        Raises:
            CorpusError: a build is running.
        """
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CorpusError(f"a build is already running in {self.cache}") from error
            yield


def open_array(path: Path, shape: tuple[int, ...], dtype: str) -> np.memmap[Any, Any]:
    """Map an array for writing; allocate it where there is none.

    Raises:
        CorpusError: there is one of another shape or type.
    """
    if not path.exists():
        partial = path.with_suffix(".partial")
        np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
        partial.rename(path)
    array = np.lib.format.open_memmap(path, mode="r+")
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise CorpusError(
            f"{path} holds {array.dtype} {array.shape} instead of {dtype} {shape}; "
            "remove it and its marks in done/ to make it again"
        )
    return array


def shard_rows(offsets: np.ndarray[Any, Any], shard: int) -> slice:
    """Rows of a shard's tokens in the arrays of vectors."""
    last = min((shard + 1) * SHARD, len(offsets) - 1)
    return slice(int(offsets[shard * SHARD]), int(offsets[last]))


def shards_of(n_passages: int) -> range:
    """Shards that hold the first n_passages."""
    return range(-(-n_passages // SHARD))
