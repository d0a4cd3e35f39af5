"""What a worker asks of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Data:
    """The vectors that all engines index, as files of one folder.

    Args:
        folder: holds `embeddings.npy` (float16 [n_tokens, dim]), `offsets.npy` (int64
            [n_passages + 1]), `doclens.npy` (int32), `wordpieces.npy` (uint32 [n_tokens]) and
            `queries.npy` (float32 [queries, 32, dim]).
    """

    folder: Path

    def path(self, name: str) -> Path:
        """File of one array."""
        return self.folder / f"{name}.npy"

    @property
    def embeddings(self) -> Array:
        """float16 [n_tokens, dim], mapped."""
        array: Array = np.load(self.path("embeddings"), mmap_mode="r")
        return array

    @property
    def offsets(self) -> Array:
        """int64 [n_passages + 1], into the embeddings."""
        array: Array = np.load(self.path("offsets"))
        return array

    @property
    def queries(self) -> Array:
        """float32 [queries, 32, dim]."""
        array: Array = np.load(self.path("queries"))
        return array

    def passages(self, first: int, last: int) -> list[Array]:
        """float16 [tokens, dim] of each passage from first to before last, mapped."""
        offsets, embeddings = self.offsets, self.embeddings
        return [embeddings[offsets[i] : offsets[i + 1]] for i in range(first, last)]

    @property
    def n_passages(self) -> int:
        """Number of passages."""
        return len(self.offsets) - 1


class Engine(Protocol):
    """One engine over one index. A process builds or searches, not both."""

    def build(self, data: Data, folder: Path, options: Mapping[str, Any], threads: int) -> None:
        """Make the index in an empty folder."""
        ...

    def open(self, data: Data, folder: Path, options: Mapping[str, Any]) -> None:
        """Get ready for searching on one thread."""
        ...

    def prepare(self, query: Array) -> Any:
        """The query, float32 [32, dim], in the form that the engine takes: not timed."""
        ...

    def search(self, query: Any, k: int, parameters: Mapping[str, Any]) -> Any:
        """The engine's own answer: this is what is timed."""
        ...

    def numbers(self, answer: Any) -> list[int]:
        """Passage numbers of an answer, best first: not timed."""
        ...

    def index_bytes(self, data: Data, folder: Path) -> int:
        """What the index takes on disk."""
        ...


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
