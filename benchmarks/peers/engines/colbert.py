"""colbert-ai: the reference implementation of ColBERTv2 and PLAID, without its encoder."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from colbert.data.collection import Collection
from colbert.indexing.collection_indexer import CollectionIndexer
from colbert.indexing.index_saver import IndexSaver
from colbert.infra import ColBERTConfig
from colbert.modeling.colbert import ColBERT
from colbert.search.index_storage import IndexScorer

from .base import Array, Data, folder_bytes

SEED = 7


class ReadyVectors:
    """Stands in for the encoder: a passage is its number, and its vectors are there already."""

    def __init__(self, data: Data) -> None:
        self.embeddings, self.offsets = data.embeddings, data.offsets

    def encode_passages(self, numbers: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
        """float32 [tokens, dim] of these passages, and the length of each."""
        spans = [slice(self.offsets[i], self.offsets[i + 1]) for i in numbers]
        rows = np.concatenate([self.embeddings[span] for span in spans])
        doclens = [int(span.stop - span.start) for span in spans]
        return torch.from_numpy(rows.astype(np.float32)), doclens


class Indexer(CollectionIndexer):  # type: ignore[misc]
    """The indexer with vectors in the place of a checkpoint."""

    def __init__(self, config: ColBERTConfig, data: Data) -> None:
        self.verbose = 1
        self.config, self.rank, self.nranks, self.use_gpu = config, 0, 1, False
        self.collection = Collection(data=list(range(data.n_passages)))
        self.encoder = ReadyVectors(data)
        self.saver = IndexSaver(config)


class Engine:
    """An index made and searched by the classes behind `Indexer` and `Searcher`."""

    def build(self, data: Data, folder: Path, options: Mapping[str, Any], threads: int) -> None:
        torch.set_num_threads(threads)
        random.seed(SEED)
        torch.manual_seed(SEED)
        config = self._config(data, folder, options)
        Indexer(config, data).run([])

    def open(self, data: Data, folder: Path, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(1)
        ColBERT.try_load_torch_extensions(False)
        self.config = self._config(data, folder, options)
        self.scorer = IndexScorer(str(folder), use_gpu=False)

    def prepare(self, query: Array) -> Any:
        return torch.from_numpy(query.copy())[None]

    def search(self, query: Any, k: int, parameters: Mapping[str, Any]) -> Any:
        self.config.configure(**parameters)
        numbers, _ = self.scorer.rank(self.config, query)
        return numbers[:k]

    def numbers(self, answer: Any) -> list[int]:
        return list(answer)

    def index_bytes(self, data: Data, folder: Path) -> int:
        return folder_bytes(folder)

    def _config(self, data: Data, folder: Path, options: Mapping[str, Any]) -> ColBERTConfig:
        return ColBERTConfig(
            dim=data.embeddings.shape[1], index_path=str(folder), rank=0, nranks=1, **options
        )
