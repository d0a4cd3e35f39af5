"""Exact MaxSim with torch in float32: what an engine has to be faster than."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .base import Array, Data


class Engine:
    """All passages, those of equal length side by side, so that nothing is padded."""

    def build(self, data: Data, folder: Path, options: Mapping[str, Any], threads: int) -> None:
        """Nothing is built."""

    def open(self, data: Data, folder: Path, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(1)
        offsets, embeddings = data.offsets, data.embeddings
        doclens = np.diff(offsets)
        self.groups: list[torch.Tensor] = []
        order = []
        for length in np.unique(doclens):
            members = np.flatnonzero(doclens == length)
            rows = (offsets[members][:, None] + np.arange(length)).ravel()
            group = torch.from_numpy(embeddings[rows].astype(np.float32))
            self.groups.append(group.view(len(members), int(length), -1))
            order.append(members)
        self.order = torch.from_numpy(np.concatenate(order))

    def prepare(self, query: Array) -> Any:
        return torch.from_numpy(query.T.copy())

    def search(self, query: Any, k: int, parameters: Mapping[str, Any]) -> Any:
        with torch.inference_mode():
            scores = [(group @ query).amax(dim=1).sum(dim=1) for group in self.groups]
            best = torch.topk(torch.cat(scores), k)
            return self.order[best.indices].tolist()

    def numbers(self, answer: Any) -> list[int]:
        return list(answer)

    def index_bytes(self, data: Data, folder: Path) -> int:
        return int(data.embeddings.nbytes)
