"""Measures a start and what was trained from it on queries that training did not see."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..encoder import load_encoder
from ..errors import InvalidTrainingDataError
from ..evaluation.baselines import Bm25
from ..evaluation.collections import Collection
from ..evaluation.metrics import measure
from .rounds import index_documents

SHARE: Final = 5
"""One query in so many is held out."""

_DEPTH: Final = 100
_METRIC: Final = "nDCG@10"

Judgements = dict[str, dict[str, int]]


def split_queries(
    qrels: Mapping[str, Mapping[str, int]], *, seed: int = 0
) -> tuple[Judgements, Judgements]:
    """Judgements to train on, and a fifth to measure on, told apart by a hash of the query's id.

    Raises:
        InvalidTrainingDataError: so few queries that one of the two is empty.
    """
    kept: Judgements = {}
    held: Judgements = {}
    for id, grades in qrels.items():
        digest = hashlib.blake2b(f"{seed} {id}".encode(), digest_size=4).digest()
        target = held if int.from_bytes(digest) % SHARE == 0 else kept
        target[id] = dict(grades)
    if not kept or not held:
        raise InvalidTrainingDataError(
            f"{len(qrels)} judged queries are too few to train on some and measure on others; "
            "give ten at least, better some hundreds"
        )
    return kept, held


def compare(collection: Collection, held: Judgements, models: Sequence[Path]) -> dict[str, float]:
    """nDCG@10 of BM25 and of each model on held-out queries.

    Args:
        collection: whose documents are searched.
        held: judgements of the queries that are asked.
        models: folders of encoders.

    Raises:
        MissingDependencyError: the extra `evaluate` is not installed.
    """
    queries = {id: collection.queries[id] for id in held}
    run = Bm25(collection.documents).run(queries, _DEPTH).rankings
    found = {"BM25": measure(held, run)[_METRIC]}
    for model in models:
        with tempfile.TemporaryDirectory(prefix="weft-compare-") as folder:
            found[model.parent.name + "/" + model.name] = _ndcg(
                Path(folder) / "index", collection, queries, held, model
            )
    return found


def _ndcg(
    folder: Path,
    collection: Collection,
    queries: Mapping[str, str],
    held: Judgements,
    model: Path,
) -> float:
    with index_documents(folder, collection.documents, load_encoder(model).source) as index:
        hits = index.search_batch(list(queries.values()), _DEPTH)
    run = {id: {hit.id: hit.score for hit in some} for id, some in zip(queries, hits, strict=True)}
    return measure(held, run)[_METRIC]
