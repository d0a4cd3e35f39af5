"""UDAPDR on a collection without judgements in training: is the model better than its start?

    python benchmarks/training/udapdr.py COLLECTION WORK --generator FILE.gguf

A small language model writes queries for documents of the collection; those that find their own
document stay, and a model is distilled from them with negatives of its start. The collection's
own queries and judgements are used to measure, never to train. WORK keeps each stage's result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import MINILM, embed, exact, load_collection, ndcg, show

from weft.engine.encoder import load_encoder
from weft.engine.encoder.checkpoint import Layout, read_checkpoint
from weft.engine.encoder.source import locate
from weft.engine.evaluation.collections import Collection
from weft.engine.training import synthetic
from weft.engine.training.generators import LocalGenerator
from weft.engine.training.mining import MiningSettings, mine
from weft.engine.training.rounds import index_documents, train_rounds
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.starting import prepare
from weft.engine.training.teachers import Blend, MaxSimTeacher, PooledTeacher
from weft.engine.training.texts import Texts, write_texts

SETTINGS = TrainingSettings(
    steps=60,
    batch=16,
    ways=4,
    learning_rate=4e-5,
    warmup=6,
    dtype="bf16",
    save_every=10,
    dropout=False,
    document_tokens=112,
)

# What suits a start that has seen neither markers nor [MASK]: see scifact.py, `starts`.
RULES = {"markers": False, "expand_queries": False, "query_maxlen": 64, "document_maxlen": 220}


def made_queries(
    work: Path, collection: Collection, start: Path, generator: LocalGenerator, counts: tuple
) -> list[synthetic.SyntheticQuery]:
    """Seeds, then many, then those that find their way back."""
    n_seeds, count = counts
    documents = dict(collection.documents)
    few = synthetic.sample_documents(documents, n_seeds)
    seeds = synthetic.seed_queries(generator, few, characters=500, progress=show)
    some = synthetic.sample_documents(documents, count, seed=1)
    made = synthetic.many_queries(generator, some, seeds, examples=2, characters=500, progress=show)
    every = synthetic.distinct([*seeds, *made])
    with index_documents(work / "index", documents, start) as index:
        kept = synthetic.round_trip(index, every, depth=20)
    print(f"{len(seeds)} seeds, {len(every)} queries, {len(kept)} kept; for example:")
    for one in kept[:3]:
        print(f"  {one.text}")
    return kept


def main() -> None:
    """Run all stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--generator", required=True)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--dtype", default="bf16", help="of the generator")
    parser.add_argument("--start", default=MINILM, help="checkpoint")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    collection = load_collection(given.collection)
    given.work.mkdir(parents=True, exist_ok=True)
    start = given.work / "start"
    if not start.is_dir():
        sample = list(synthetic.sample_documents(collection.documents, 256).values())
        plain = read_checkpoint(locate(given.start).folder).layout is Layout.PLAIN
        start = prepare(given.start, start, sample=sample, **(RULES if plain else {}))
    kept = given.work / "queries.jsonl"
    if not kept.is_file():
        generator = LocalGenerator(given.generator, max_new_tokens=32, batch=16, dtype=given.dtype)
        counts = (given.seeds, given.count)
        found = made_queries(given.work, collection, start, generator, counts)
        texts, judged = synthetic.as_judgements(found)
        lines = [f"{id}\t{document}" for id, grades in judged.items() for document in grades]
        (given.work / "made.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_texts(kept, texts)
    texts = dict(Texts(kept))
    rows = (given.work / "made.tsv").read_text(encoding="utf-8").splitlines()
    judged = {id: {document: 1} for id, document in (row.split("\t") for row in rows)}
    # The start itself beside its pooled vectors: what is learnt comes from the made queries.
    teacher = Blend([(MaxSimTeacher(load_encoder(MINILM)), 1.0), (PooledTeacher(MINILM), 1.0)])
    mining = MiningSettings(negatives=5, depth=50)
    done = train_rounds(
        collection.documents,
        texts,
        lambda index: mine(index, texts, judged, settings=mining),
        start,
        given.work,
        SETTINGS,
        teacher=teacher,
        positive_bonus=2.0,
        progress=lambda step: step.step % 10 or print(f"  {step.step} {step.loss:.4f}", flush=True),
        stage=print,
    )
    for name, model in (("start", start), ("adapted", done[-1].model)):
        encoder = load_encoder(model)
        passages = embed(collection, encoder, given.work / "cache")
        run = exact(collection, passages, encoder, dict(collection.queries))
        print(f"{collection.name} {name}: nDCG@10 {ndcg(collection.qrels, run):.4f}", flush=True)


if __name__ == "__main__":
    main()
