"""Measures a start and what was trained from it on queries that training did not see."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import InvalidTrainingDataError
from ..evaluation.baselines import Bm25
from ..evaluation.collections import Collection
from ..evaluation.metrics import measure
from .mining import query_vectors
from .rounds import index_documents
from .texts import NO_LANGUAGES, Languages, TextMapping

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


def compare(
    collection: Collection,
    held: Judgements,
    models: Sequence[Path],
    *,
    languages: Languages = NO_LANGUAGES,
) -> dict[str, float]:
    """nDCG@10 of BM25 and of each model on held-out queries.

    Args:
        collection: whose documents are searched.
        held: judgements of the queries that are asked.
        models: folders of encoders.
        languages: of documents and queries, for backbones with adapters.

    Raises:
        MissingDependencyError: the extra `evaluate` is not installed.
    """
    texts = {id: collection.queries[id] for id in held}
    queries = TextMapping(texts, "queries", languages.queries)
    run = Bm25(collection.documents).run(texts, _DEPTH).rankings
    found = {"BM25": measure(held, run)[_METRIC]}
    for model in models:
        with tempfile.TemporaryDirectory(prefix="weft-compare-") as folder:
            found[model.parent.name + "/" + model.name] = _ndcg(
                Path(folder) / "index", collection, queries, held, model, languages.documents
            )
    return found


def _ndcg(
    folder: Path,
    collection: Collection,
    queries: Mapping[str, str],
    held: Judgements,
    model: Path,
    languages: Mapping[str, str],
) -> float:
    with index_documents(folder, collection.documents, model, languages) as index:
        hits = index.search_batch(query_vectors(index.encoder, queries, list(queries)), _DEPTH)
    run = {id: {hit.id: hit.score for hit in some} for id, some in zip(queries, hits, strict=True)}
    return measure(held, run)[_METRIC]
