"""Exact MaxSim over uncompressed embeddings: what the compressed index is held against."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from .baselines import TimedRun
from .embeddings import PassageEmbeddings


def run_exact(
    ids: Sequence[str],
    passages: PassageEmbeddings,
    queries: Mapping[str, NDArray[np.float32]],
    k: int,
    *,
    threads: int = 0,
) -> TimedRun:
    """Score every passage of every document and keep the best `k` documents per query.

    A document scores as its best passage does.

    Args:
        ids: document ids in the order of the corpus.
        passages: embeddings of all passages, float16.
        queries: query id to float32 [query tokens, dim].
        k: documents per query.
        threads: 0 is all cores.
    """
    offsets = passages.offsets
    rankings: dict[str, dict[str, float]] = {}
    seconds: list[float] = []
    for id, query in queries.items():
        started = time.perf_counter()
        scores = kernels.maxsim(query, passages.embeddings, offsets, threads=threads)
        best = document_scores(scores, passages.passage_document, len(ids))
        top = kernels.topk(best, k)
        seconds.append(time.perf_counter() - started)
        rankings[id] = {ids[number]: float(best[number]) for number in top}
    return TimedRun(rankings, seconds)


def document_scores(
    scores: NDArray[np.float32], passage_document: NDArray[np.uint32], n_documents: int
) -> NDArray[np.float32]:
    """Give each document its best passage's score.

    Args:
        scores: float32 [passages].
        passage_document: uint32 [passages]: the document of each passage.
        n_documents: length of the result; a document without passages gets -inf.
    """
    best = np.full(n_documents, -np.inf, dtype=np.float32)
    np.maximum.at(best, passage_document, scores)
    return best
