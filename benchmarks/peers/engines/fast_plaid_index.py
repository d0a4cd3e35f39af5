"""fast-plaid: PLAID in Rust over libtorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fast_plaid import search as fast_plaid

from .base import Array, Data, folder_bytes


class Engine:
    """The index that `FastPlaid.create` makes."""

    def build(self, data: Data, folder: Path, options: Mapping[str, Any], threads: int) -> None:
        torch.set_num_threads(threads)
        passages = data.passages(0, data.n_passages)
        embeddings = [torch.from_numpy(np.array(passage)) for passage in passages]
        index = fast_plaid.FastPlaid(str(folder), device="cpu")
        index.create(documents_embeddings=embeddings, **options)

    def open(self, data: Data, folder: Path, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(1)
        self.index = fast_plaid.FastPlaid(str(folder), device="cpu")

    def prepare(self, query: Array) -> Any:
        return torch.from_numpy(query.copy())[None]

    def search(self, query: Any, k: int, parameters: Mapping[str, Any]) -> Any:
        return self.index.search(query, top_k=k, show_progress=False, **parameters)

    def numbers(self, answer: Any) -> list[int]:
        return [int(number) for number, _ in answer[0]]

    def index_bytes(self, data: Data, folder: Path) -> int:
        # The embeddings that a later update would read are no part of what is searched.
        kept = folder / "embeddings.npy"
        return folder_bytes(folder) - (kept.stat().st_size if kept.exists() else 0)
