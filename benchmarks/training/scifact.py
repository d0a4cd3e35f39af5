"""Trains on SciFact's training claims and measures on its test claims and three other collections.

    python benchmarks/training/scifact.py COLLECTIONS WORK STAGE...

COLLECTIONS holds scifact, scifact_train, cranfield, vaswani and cisi; WORK keeps what each stage
leaves, so that a stage that was killed is run again. The stages, in order:

    mine      an index with the start finds hard negatives for the training claims
    starts    MiniLM with and without ColBERT's markers and expansion
    teacher   a cross-encoder is trained on four fifths of the claims
    score     cross-encoder and start, blended, score the examples
    seeds     distillation and binary labels, three seeds each, on the same examples; measured on
              the fifth of the training claims that was held out
    transfer  the same models on Cranfield and CISI
    student   the model that is measured, trained on all training claims
    table     nDCG@10 of start, student, teacher and BM25

Settings were chosen on the fifth of the training claims that is held out. Test claims are seen by
`table` alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from common import (
    MINILM,
    claims,
    embed,
    exact,
    held_out,
    index_of,
    load_collection,
    ndcg,
    reranked,
    show,
    subset,
)

from weft.engine.encoder import load_encoder
from weft.engine.encoder.source import locate
from weft.engine.evaluation.baselines import Bm25
from weft.engine.evaluation.collections import Collection
from weft.engine.index import Index
from weft.engine.training.averaging import average
from weft.engine.training.cross_encoder import CrossEncoder
from weft.engine.training.data import TrainingData
from weft.engine.training.distillation import MODEL, Distillation
from weft.engine.training.mining import MiningSettings, mine
from weft.engine.training.nway import Example, NWayFile, write_examples
from weft.engine.training.rounds import EXAMPLES, PASSAGES, keep_mined
from weft.engine.training.scoring import score_examples
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.starting import prepare
from weft.engine.training.teachers import Blend, MaxSimTeacher, PooledTeacher
from weft.engine.training.teaching import TeacherTraining
from weft.engine.training.texts import TextMapping, Texts
from weft.engine.training.trainable import TrainableEncoder

OTHERS = ("cranfield", "vaswani", "cisi")
TEACHER = TrainingSettings(
    steps=100, batch=8, ways=4, learning_rate=5e-5, warmup=10, dtype="bf16", save_every=10
)
STUDENT = TrainingSettings(
    steps=100,
    batch=16,
    ways=4,
    learning_rate=4e-5,
    warmup=10,
    dtype="bf16",
    save_every=10,
    in_batch=0.5,
    dropout=False,
    document_tokens=112,
)
STARTS = {
    "neither": {"markers": False, "expand_queries": False},
    "markers": {"expand_queries": False},
    "markers and [MASK]": {"query_maxlen": 32},
}
CHOSEN = "neither"
SHORT = 40
SCORED_WAYS = 4
RERANKED = 20
NAMES = ("cranfield", "vaswani", "cisi", "scifact")
SYSTEMS = (
    "BM25",
    "zero-shot MiniLM, 384 dimensions",
    "student, 128 dimensions",
    "start, 128 dimensions",
    f"teacher over the best {RERANKED}",
    "student averaged with its start, 128 dimensions",
)


class Work:
    """The folders of a run."""

    def __init__(self, collections: Path, folder: Path, given: argparse.Namespace) -> None:
        self.collections, self.folder = collections, folder
        self.bonus, self.words, self.given_start = given.bonus, given.words, given.start
        folder.mkdir(parents=True, exist_ok=True)
        self.cache = folder / "cache"
        self.claims, self.judged = claims(collections / "scifact_train")

    def collection(self, name: str = "scifact") -> Collection:
        """One of the collections."""
        return load_collection(self.collections / name)

    @property
    def start(self) -> Path:
        """The start: made once, of MiniLM and a sample of the corpus, unless one was given."""
        if self.given_start:
            return locate(self.given_start).folder
        place = self.folder / "start"
        if not place.is_dir():
            self.prepare(place, CHOSEN)
        return place

    def prepare(self, place: Path, variant: str) -> Path:
        """A start of the bundled MiniLM and a sample of the corpus."""
        if not place.is_dir():
            documents = list(self.collection().documents.values())
            lengths = {"query_maxlen": 64, "document_maxlen": 220} | STARTS[variant]
            prepare(MINILM, place, dim=128, sample=documents[::40], **lengths)
        return place

    def data(self, name: str, *, scored: bool = True) -> TrainingData:
        """Examples of a file, with the claims and the mined passages."""
        examples = NWayFile(self.folder / name, scored=scored)
        return TrainingData(examples, TextMapping(self.claims), Texts(self.folder / PASSAGES))


def report(step: object) -> None:
    """A line every few steps."""
    if step.step % 10 == 0 or step.step == step.steps:
        print(f"  step {step.step} loss {step.loss:.4f} {step.seconds:.1f} s", flush=True)


def stage_mine(work: Work) -> None:
    """Hard negatives for all training claims, those held out in a file of their own."""
    encoder = load_encoder(MINILM)
    folder = index_of(work.folder / "index", work.collection(), encoder, work.cache)
    settings = MiningSettings(depth=50, negatives=7, positives=2)
    with Index.open(folder, encoder=encoder) as index:
        found = mine(index, work.claims, work.judged, settings=settings, progress=show)
        keep_mined(work.folder, found)
    examples = list(NWayFile(work.folder / EXAMPLES, scored=False))
    write_examples(work.folder / "kept.jsonl", [e for e in examples if not held_out(e.query_id)])


def stage_teacher(work: Work) -> None:
    """The cross-encoder."""
    data = work.data("kept.jsonl", scored=False)
    TeacherTraining(
        MINILM, data, TEACHER, work.folder / "teacher", max_tokens=256, progress=report
    ).run()


class WordTeacher:
    """BM25 over given texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._bm25 = Bm25({text: text for text in texts})
        self._query, self._found = "", {}

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts]; 0 where no word is shared."""
        if query != self._query:
            self._query = query
            self._found = self._bm25.run({"": query}, 1_000_000).rankings[""]
        return np.array([self._found.get(text, 0.0) for text in texts], dtype=np.float32)


def teacher(work: Work, texts: Iterable[str]) -> Blend:
    """MiniLM by token vectors and by pooled ones; BM25 and the cross-encoder if wanted."""
    by_tokens = MaxSimTeacher(load_encoder(MINILM, dtype="bf16"))
    members = [(by_tokens, 1.0), (PooledTeacher(MINILM), 1.0)]
    if work.words > 0:
        members.append((WordTeacher(texts), work.words))
    place = work.folder / "teacher" / "teacher"
    if place.is_dir():
        members.append((CrossEncoder.load(place, max_tokens=256, dtype="bf16"), 1.0))
    return Blend(members)


def stage_score(work: Work) -> None:
    """Scores for all examples, and for those that were not held out."""
    few = (
        Example(one.query_id, one.passage_ids[:SCORED_WAYS], (), one.where)
        for one in NWayFile(work.folder / EXAMPLES, scored=False)
    )
    write_examples(work.folder / "few.jsonl", few)
    data = work.data("few.jsonl", scored=False)
    scored = score_examples(
        data, teacher(work, data.passages.values()), positive_bonus=work.bonus, progress=show
    )
    write_examples(work.folder / "all.jsonl", scored)
    kept = [example for example in scored if not held_out(example.query_id)]
    write_examples(work.folder / "train.jsonl", kept)


def train(work: Work, examples: str, settings: TrainingSettings, name: str) -> Path:
    """Train from the start, and return the model's folder."""
    folder = work.folder / "runs" / name
    if not (folder / MODEL).is_dir():
        encoder = TrainableEncoder.load(work.start)
        Distillation(encoder, work.data(examples), settings, folder, progress=report).run()
    return folder / MODEL


def dev_pool(work: Work) -> Collection:
    """The held-out claims over what mining found for them: small enough to encode often."""
    texts = Texts(work.folder / PASSAGES)
    mined = list(NWayFile(work.folder / EXAMPLES, scored=False))
    held = {id for example in mined if held_out(example.query_id) for id in example.passage_ids}
    judged = subset(work.judged, True)
    qrels = {
        query: {id: 1 for id in held if id.partition("#")[0] in grades}
        for query, grades in judged.items()
    }
    qrels = {query: grades for query, grades in qrels.items() if grades}
    queries = {query: work.claims[query] for query in qrels}
    return Collection("dev", {id: texts[id] for id in sorted(held)}, queries, qrels)


def dev(work: Work, pool: Collection, model: Path) -> float:
    """nDCG@10 on the held-out claims."""
    encoder = load_encoder(model, dtype="bf16")
    passages = embed(pool, encoder, work.cache)
    return ndcg(pool.qrels, exact(pool, passages, encoder, dict(pool.queries)))


def stage_starts(work: Work) -> None:
    """Which rules suit a start that has seen none of them, on the held-out claims."""
    pool = dev_pool(work)
    print(f"dev: {len(pool.queries)} claims, {len(pool.documents)} passages")
    for number, variant in enumerate(STARTS):
        place = work.prepare(work.folder / f"start-{number}", variant)
        print(f"{variant}: {dev(work, pool, place):.4f}", flush=True)


def stage_seeds(work: Work) -> None:
    """Distillation against binary labels, on the held-out claims."""
    pool = dev_pool(work)
    print(f"dev: {len(pool.queries)} claims, {len(pool.documents)} passages")
    print(f"start {dev(work, pool, work.start):.4f}", flush=True)
    found: dict[str, list[float]] = {"distil": [], "binary": []}
    for seed in range(3):
        for loss, values in found.items():
            chosen = STUDENT.to_json() | {"steps": SHORT, "warmup": 6, "seed": seed, "loss": loss}
            model = train(work, "train.jsonl", TrainingSettings(**chosen), f"{loss}-{seed}")
            values.append(dev(work, pool, model))
            print(f"{loss} seed {seed}: {values[-1]:.4f}", flush=True)
    means = {loss: statistics.mean(values) for loss, values in found.items()}
    print(json.dumps({"dev nDCG@10": found, "means": means}, indent=2))


def stage_transfer(work: Work) -> None:
    """The models of `seeds` on two collections that they were not trained on."""
    for name in ("cranfield", "cisi"):
        collection = work.collection(name)
        found: dict[str, list[float]] = {"distil": [], "binary": []}
        for seed, loss in [(seed, loss) for seed in range(3) for loss in found]:
            encoder = load_encoder(work.folder / "runs" / f"{loss}-{seed}" / MODEL, dtype="bf16")
            passages = embed(collection, encoder, None)
            run = exact(collection, passages, encoder, dict(collection.queries))
            found[loss].append(ndcg(collection.qrels, run))
            print(f"{name}: {loss} seed {seed} {found[loss][-1]:.4f}", flush=True)
        print(name, {loss: round(statistics.mean(values), 4) for loss, values in found.items()})


def stage_student(work: Work) -> None:
    """The model of the table."""
    train(work, "all.jsonl", STUDENT, "student")


def stage_table(work: Work) -> None:
    """nDCG@10 of all systems, on the test claims and where nothing was trained."""
    path = work.folder / "table.json"
    table: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    for system, name in [(s, n) for s in SYSTEMS for n in NAMES]:
        key = f"{system}: {name}"
        if key not in table and (name == "scifact" or not system.startswith("teacher")):
            table[key] = measured(work, system, work.collection(name))
            path.write_text(json.dumps(table, indent=2), encoding="utf-8")
            print(f"{key} {table[key]:.4f}", flush=True)
    print("| system | " + " | ".join(("scifact", *OTHERS)) + " |")
    for system in SYSTEMS:
        found = [table.get(f"{system}: {name}") for name in ("scifact", *OTHERS)]
        cells = ["–" if value is None else f"{value:.4f}" for value in found]
        print(f"| {system} | " + " | ".join(cells) + " |")


def measured(work: Work, system: str, collection: Collection) -> float:
    """nDCG@10 of one system on one collection."""
    queries = dict(collection.queries)
    if system == "BM25":
        run = Bm25(collection.documents).run(queries, 100).rankings
        return ndcg(collection.qrels, run)
    encoder = load_encoder(MINILM)
    if system.startswith("student averaged"):
        place = work.folder / "runs" / "averaged"
        if not place.is_dir():
            average(work.start, work.folder / "runs" / "student" / MODEL, place)
        encoder = load_encoder(place, dtype="bf16")
    elif system.startswith("student"):
        encoder = load_encoder(work.folder / "runs" / "student" / MODEL, dtype="bf16")
    if system.startswith("start"):
        encoder = load_encoder(work.start, dtype="bf16")
    run = exact(collection, embed(collection, encoder, work.cache), encoder, queries)
    if system.startswith("teacher"):
        run = reranked(
            run,
            queries,
            collection.documents,
            teacher(work, collection.documents.values()),
            RERANKED,
        )
    return ndcg(collection.qrels, run)


STAGES = {
    "mine": stage_mine,
    "starts": stage_starts,
    "teacher": stage_teacher,
    "score": stage_score,
    "seeds": stage_seeds,
    "transfer": stage_transfer,
    "student": stage_student,
    "table": stage_table,
}


def main() -> None:
    """Run the stages that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("stages", nargs="+", choices=STAGES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bonus", type=float, default=4.0, help="of a judged positive")
    parser.add_argument("--words", type=float, default=0.0, help="weight of BM25 as a teacher")
    parser.add_argument("--start", help="checkpoint to train from, such as weft-mini")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    work = Work(given.collections, given.work, given)
    for stage in given.stages:
        print(f"== {stage}", flush=True)
        STAGES[stage](work)


if __name__ == "__main__":
    main()
