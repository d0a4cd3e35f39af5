"""Weft through its public interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import weft

from .base import Array, Data

BATCH = 5_000
FLAT = 10**12
"""More tokens than there are: the index stays flat."""


class Engine:
    """An index of ready-made embeddings; the number of a passage is its id."""

    def build(self, data: Data, folder: Path, options: Mapping[str, Any], threads: int) -> None:
        flat = bool(options.get("flat"))
        index = weft.Index.create(
            folder / "index",
            dim=data.embeddings.shape[1],
            bits=options.get("bits", 4),
            flat_below_tokens=FLAT if flat else 1,
            threads=threads,
        )
        for first in range(0, data.n_passages, BATCH):
            last = min(first + BATCH, data.n_passages)
            index.add(
                ids=[str(number) for number in range(first, last)],
                embeddings=data.passages(first, last),
            )
        index.compact()
        index.close()

    def open(self, data: Data, folder: Path, options: Mapping[str, Any]) -> None:
        self.index = weft.Index.open(folder / "index", threads=1)

    def prepare(self, query: Array) -> Any:
        return query

    def search(self, query: Any, k: int, parameters: Mapping[str, Any]) -> Any:
        return self.index.search(query, k, **parameters)

    def numbers(self, answer: Any) -> list[int]:
        return [int(hit.id) for hit in answer]

    def index_bytes(self, data: Data, folder: Path) -> int:
        with weft.Index.open(folder / "index") as index:
            stats = index.stats()
        size: float = stats.bytes_per_token * stats.n_tokens
        return round(size)
