"""BM25, the baseline that every retriever is held against.

`k1 = 0.9`, `b = 0.4`, Lucene's formula, the English Snowball stemmer and English stop words
over title and text: the setting behind the published figures of BEIR.

Source: Robertson and Zaragoza 2009; Thakur et al. 2021 (BEIR), section 4.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..errors import MissingDependencyError

K1: Final = 0.9
B: Final = 0.4


@dataclass(frozen=True)
class TimedRun:
    """A ranking per query, and how long each search took.

    Args:
        rankings: query id to document id to score.
        seconds: one duration per query, in the order of the queries.
    """

    rankings: dict[str, dict[str, float]]
    seconds: list[float]

    @property
    def median_milliseconds(self) -> float:
        """The median search time of one query."""
        return float(np.median(self.seconds)) * 1000


class Bm25:
    """BM25 over whole documents.

    Args:
        documents: document id to text.

    Raises:
        MissingDependencyError: bm25s or PyStemmer is not installed.
    """

    def __init__(self, documents: Mapping[str, str]) -> None:
        try:
            bm25s: Any = importlib.import_module("bm25s")
            stemmer: Any = importlib.import_module("Stemmer")
        except ImportError as error:
            raise MissingDependencyError(
                "BM25 needs the packages bm25s and PyStemmer: pip install 'weft[evaluate]'."
            ) from error
        self._ids = list(documents)
        self._stemmer = stemmer.Stemmer("english")
        self._index = bm25s.BM25(method="lucene", k1=K1, b=B)
        self._tokenize = bm25s.tokenize
        self._index.index(self._tokens(list(documents.values())), show_progress=False)

    def run(self, queries: Mapping[str, str], k: int) -> TimedRun:
        """Rank at most `k` documents per query; those that share no word are left out."""
        rankings: dict[str, dict[str, float]] = {}
        seconds: list[float] = []
        for id, text in queries.items():
            tokens = self._tokens([text])
            started = time.perf_counter()
            rankings[id] = self._search(tokens, min(k, len(self._ids)))
            seconds.append(time.perf_counter() - started)
        return TimedRun(rankings, seconds)

    def _search(self, tokens: Any, k: int) -> dict[str, float]:
        found, scores = self._index.retrieve(tokens, k=k, show_progress=False)
        pairs = zip(found[0], scores[0], strict=True)
        return {self._ids[number]: float(score) for number, score in pairs if score > 0}

    def _tokens(self, texts: Sequence[str]) -> Any:
        return self._tokenize(
            list(texts), stopwords="en", stemmer=self._stemmer, show_progress=False
        )
