"""An index over embeddings that are ready, searched as users search it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..documents import Document
from ..encoder.base import Encoder
from ..index import Index
from ..search.hybrid import HybridLike
from ..storage import create_index
from ..storage.batch import EncodedBatch
from ..storage.compaction import compact
from ..storage.manifest import IndexSettings
from ..storage.writer import Writer
from .baselines import TimedRun
from .collections import Collection
from .embeddings import PassageEmbeddings

BATCH_PASSAGES: Final = 4096


@dataclass(frozen=True)
class CompressedRun:
    """Runs over a compressed index, and what that index takes.

    Args:
        timed: rankings and search times.
        stats: what `Index.stats` reports.
        hybrid: the same with each `hybrid` that was asked for.
    """

    timed: TimedRun
    stats: Any
    hybrid: list[TimedRun]


def run_compressed(
    folder: Path,
    collection: Collection,
    passages: PassageEmbeddings,
    encoder: Encoder,
    queries: Mapping[str, NDArray[np.float32]],
    *,
    bits: int,
    k: int,
    threads: int = 0,
    parameters: Mapping[str, Any] | None = None,
    hybrid: Sequence[HybridLike] = (),
) -> CompressedRun:
    """Compress ready embeddings into a new index and search it, one query at a time.

    Args:
        folder: where the index is made; must not exist or be empty.
        queries: query id to float32 [query tokens, dim].
        bits: residual bits per dimension.
        k: documents per query.
        parameters: further search parameters, such as `nprobe`.
        hybrid: values of that parameter, each searched with as well.
    """
    build_index(folder, collection, passages, encoder, bits=bits, threads=threads)
    given = dict(parameters or {})
    with Index.open(folder, encoder=encoder, threads=threads) as index:
        stats = index.stats()
        timed = _run(index, queries, None, k, given)
        fused = [
            _run(index, queries, collection.queries, k, {**given, "hybrid": value})
            for value in hybrid
        ]
    return CompressedRun(timed, stats, fused)


def _run(
    index: Index,
    queries: Mapping[str, NDArray[np.float32]],
    texts: Mapping[str, str] | None,
    k: int,
    parameters: Mapping[str, Any],
) -> TimedRun:
    """Search one query at a time."""
    rankings: dict[str, dict[str, float]] = {}
    seconds: list[float] = []
    for id, query in queries.items():
        text = None if texts is None else texts[id]
        started = time.perf_counter()
        hits = index.search(query, k, query_text=text, **parameters)
        seconds.append(time.perf_counter() - started)
        rankings[id] = {hit.id: hit.score for hit in hits}
    return TimedRun(rankings, seconds)


def build_index(
    folder: Path,
    collection: Collection,
    passages: PassageEmbeddings,
    encoder: Encoder,
    *,
    bits: int,
    threads: int = 0,
) -> None:
    """Write an index of ready passage embeddings and compress it, whatever its size."""
    settings = IndexSettings(bits=bits, flat_below_tokens=1)
    identity = encoder.identity
    create_index(folder, dim=identity.dim, encoder=identity.to_json(), settings=settings)
    writer = Writer(folder, threads=threads)
    try:
        for batch in _batches(collection, passages):
            writer.commit(writer.stage(batch))
        compact(writer)
    finally:
        writer.close()


def _batches(collection: Collection, passages: PassageEmbeddings) -> Iterator[EncodedBatch]:
    """Cut the passages into batches of whole documents."""
    documents = [Document(id, text) for id, text in collection.documents.items()]
    owners, offsets = passages.passage_document, passages.offsets
    start = 0
    while start < len(owners):
        last = owners[min(start + BATCH_PASSAGES, len(owners)) - 1]
        end = int(np.searchsorted(owners, last, side="right"))
        first = int(owners[start])
        yield EncodedBatch(
            documents=documents[first : int(last) + 1],
            passage_document=owners[start:end] - np.uint32(first),
            spans=passages.spans[start:end],
            doclens=passages.doclens[start:end],
            embeddings=passages.embeddings[offsets[start] : offsets[end]],
        )
        start = end
