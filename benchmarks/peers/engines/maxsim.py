"""maxsim-cpu: exact MaxSim in a compiled kernel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import maxsim_cpu
import numpy as np

from .base import Array, Data


class Engine:
    """All passages in float32, of whatever length."""

    def build(self, data: Data, folder: Path, options: Mapping[str, Any], threads: int) -> None:
        """Nothing is built."""

    def open(self, data: Data, folder: Path, options: Mapping[str, Any]) -> None:
        passages = data.passages(0, data.n_passages)
        self.passages = [passage.astype(np.float32) for passage in passages]

    def prepare(self, query: Array) -> Any:
        return np.ascontiguousarray(query)

    def search(self, query: Any, k: int, parameters: Mapping[str, Any]) -> Any:
        scores = np.asarray(maxsim_cpu.maxsim_scores_variable(query, self.passages))
        best = np.argpartition(-scores, k)[:k]
        return best[np.argsort(-scores[best])]

    def numbers(self, answer: Any) -> list[int]:
        return [int(number) for number in answer]

    def index_bytes(self, data: Data, folder: Path) -> int:
        return int(data.embeddings.nbytes)
