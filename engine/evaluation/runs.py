"""One evaluation: every system over one collection, from the same embeddings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..encoder.base import Encoder
from ..search.hybrid import HybridLike
from .baselines import Bm25, TimedRun
from .collections import Collection
from .compressed import run_compressed
from .embeddings import PassageEmbeddings, Progress, encode_collection
from .exact import run_exact
from .metrics import measure

DEPTH: Final = 100
"""Documents that each system returns per query: what Recall@100 needs."""

HYBRIDS: Final[Mapping[str, HybridLike]] = {
    "Weft's BM25": 0,
    "hybrid, rrf": "rrf",
    "hybrid, weighted": "weighted",
}
"""Values of `hybrid` that are measured beside late interaction alone."""

Stage = Callable[[str], None]
"""Called with a sentence when a step begins."""


@dataclass(frozen=True)
class Row:
    """One system's line in the table.

    Args:
        system: for people.
        metrics: name of the measure to its mean over the queries, 0 to 1.
        milliseconds: median time of one search, encoding of the query excluded.
        bytes_per_token: of what is searched; None where there are no embeddings.
    """

    system: str
    metrics: dict[str, float]
    milliseconds: float
    bytes_per_token: float | None


@dataclass(frozen=True)
class Evaluation:
    """All rows of a collection and what they were measured on.

    Args:
        collection: its name.
        encoder: its name.
        target: of the kernels, such as "avx2".
        threads: that searched.
        rows: one per system.
    """

    collection: str
    encoder: str
    target: str
    threads: int
    n_documents: int
    n_passages: int
    n_tokens: int
    n_queries: int
    rows: list[Row]

    def to_json(self) -> dict[str, Any]:
        """The evaluation as JSON values."""
        return asdict(self)


def evaluate(
    collection: Collection,
    encoder: Encoder,
    *,
    bits: Sequence[int] = (4, 2),
    cache: Path | None = None,
    threads: int = 0,
    parameters: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    stage: Stage | None = None,
) -> Evaluation:
    """Measure BM25, exact MaxSim, the compressed index at each number of bits, and hybrid search.

    Args:
        collection: what to search and how it is judged.
        encoder: encodes passages once, for every row but BM25, and queries.
        bits: residual bits per dimension, one row each; hybrid search is measured with the first.
        cache: folder for the passage embeddings, which are read again by the next run.
        threads: for searching; 0 is all cores.
        parameters: search parameters for the compressed rows, such as `nprobe`.
        progress: called while passages are encoded.
        stage: called when a step begins.

    Raises:
        MissingDependencyError: the extra `evaluate` is not installed.
    """
    tell = stage or (lambda _: None)
    tell("BM25")
    rows = [_bm25(collection)]
    tell("encoding")
    passages = encode_collection(collection, encoder, cache, progress)
    ids, texts = list(collection.queries), list(collection.queries.values())
    queries = dict(zip(ids, encoder.encode_queries(texts), strict=True))
    tell("exact MaxSim")
    rows.append(_exact(collection, passages, queries, threads))
    for number, n in enumerate(bits):
        tell(f"index at {n} bits")
        hybrid = HYBRIDS if number == 0 else {}
        rows += _compressed(collection, passages, encoder, queries, n, threads, parameters, hybrid)
    return Evaluation(
        collection=collection.name,
        encoder=encoder.identity.name,
        target=kernels.active_target(),
        threads=threads or kernels.default_threads(),
        n_documents=len(collection.documents),
        n_passages=len(passages.doclens),
        n_tokens=passages.n_tokens,
        n_queries=len(collection.queries),
        rows=rows,
    )


def _row(
    system: str, collection: Collection, timed: TimedRun, bytes_per_token: float | None
) -> Row:
    metrics = measure(collection.qrels, timed.rankings)
    return Row(system, metrics, timed.median_milliseconds, bytes_per_token)


def _bm25(collection: Collection) -> Row:
    timed = Bm25(collection.documents).run(collection.queries, DEPTH)
    return _row("BM25", collection, timed, None)


def _exact(
    collection: Collection,
    passages: PassageEmbeddings,
    queries: Mapping[str, NDArray[np.float32]],
    threads: int,
) -> Row:
    timed = run_exact(list(collection.documents), passages, queries, DEPTH, threads=threads)
    size = passages.embeddings.nbytes / passages.n_tokens
    return _row("exact MaxSim", collection, timed, size)


def _compressed(
    collection: Collection,
    passages: PassageEmbeddings,
    encoder: Encoder,
    queries: Mapping[str, NDArray[np.float32]],
    bits: int,
    threads: int,
    parameters: Mapping[str, Any] | None,
    hybrid: Mapping[str, HybridLike],
) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="weft-evaluate-") as folder:
        run = run_compressed(
            Path(folder) / "index",
            collection,
            passages,
            encoder,
            queries,
            bits=bits,
            k=DEPTH,
            threads=threads,
            parameters=parameters,
            hybrid=list(hybrid.values()),
        )
    size = run.stats.bytes_per_token
    rows = [_row(f"Weft, {bits} bits", collection, run.timed, size)]
    for name, timed in zip(hybrid, run.hybrid, strict=True):
        rows.append(_row(f"{name}, {bits} bits", collection, timed, size))
    return rows
