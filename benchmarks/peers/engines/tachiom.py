"""TACHIOM: token-aware clustering and product quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tachiom

from .base import Array, Data, folder_bytes

NO_PASSAGE = np.iinfo(np.uint32).max


class Engine:
    """The index that `Tachiom.build` makes of files."""

    def build(self, data: Data, folder: Path, options: Mapping[str, Any], threads: int) -> None:
        paths = (str(data.path(name)) for name in ("embeddings", "wordpieces", "doclens"))
        index = tachiom.Tachiom.build(*paths, **options)
        index.save(str(folder / "index.bin"))

    def open(self, data: Data, folder: Path, options: Mapping[str, Any]) -> None:
        self.index = tachiom.Tachiom.load(str(folder / "index.bin"))

    def prepare(self, query: Array) -> Any:
        return np.ascontiguousarray(query)

    def search(self, query: Any, k: int, parameters: Mapping[str, Any]) -> Any:
        return self.index.search(query, k, **parameters)

    def numbers(self, answer: Any) -> list[int]:
        return [int(number) for number in answer[1] if number != NO_PASSAGE]

    def index_bytes(self, data: Data, folder: Path) -> int:
        return folder_bytes(folder)
