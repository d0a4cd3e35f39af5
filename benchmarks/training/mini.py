"""Makes weft-mini, the model that travels with Weft, out of MiniLM and text of Debian packages.

    python benchmarks/training/mini.py CORPUS WORK STAGE... [--collections DIR] [--threads N]

CORPUS is the folder that `python -m benchmarks.corpus.build` made (three dictionaries and a long
FAQ); WORK keeps what each stage leaves, so that a stage that was killed is run again:

    texts     a pool of passages, and queries cut from them: spans, key words, questions
    lists     for each query, passages from all over the ranking of MiniLM's own 384 dimensions
    score     the teacher: MaxSim over all 384 dimensions, blended with the pooled cosine
    train     the projection and the backbone learn to rank as the teacher does
    pack      a byte per weight: what is put into engine/encoder/weft_mini
    table     nDCG@10 of the start, the result and MiniLM itself on --collections

No text of the collections is trained on, nor are their queries.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from common import MINILM, embed, exact, index_of, load_collection, ndcg, show

from weft import kernels
from weft.engine.encoder import load_encoder
from weft.engine.evaluation.collections import Collection
from weft.engine.evaluation.embeddings import PassageEmbeddings
from weft.engine.index import Index
from weft.engine.training.compact import write_compact
from weft.engine.training.data import TrainingData
from weft.engine.training.distillation import MODEL, Distillation
from weft.engine.training.nway import Example, NWayFile, write_examples
from weft.engine.training.scoring import score_examples
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.starting import prepare
from weft.engine.training.teachers import Blend
from weft.engine.training.texts import Texts, write_texts
from weft.engine.training.trainable import TrainableEncoder

POOL = {"dict-foldoc": 8000, "dict-jargon": 2300, "anarchism": 6000, "dict-gcide": 6000}
QUERIES = 10_000
RANKS = (0, 1, 2, 4, 7, 12, 20, 33, 49)
DEPTH = 50
WAYS = 5
RULES = {"markers": False, "expand_queries": False, "query_maxlen": 256, "document_maxlen": 220}
SETTINGS = TrainingSettings(
    steps=600,
    batch=16,
    ways=WAYS,
    learning_rate=5e-5,
    warmup=30,
    dtype="bf16",
    save_every=20,
    in_batch=0.0,
    dropout=False,
    document_tokens=112,
)
NAMES = ("scifact", "cranfield", "vaswani", "cisi")


def pool(corpus: Path) -> dict[str, str]:
    """Passages of each source, the first ones of the corpus, which is shuffled."""
    found: dict[str, str] = {}
    left = dict(POOL)
    with (corpus / "passages.jsonl").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            if left.get(record["source"], 0) > 0:
                left[record["source"]] -= 1
                found[f"p{number}"] = record["text"]
    return found


def queries(passages: dict[str, str], count: int) -> Iterator[tuple[str, str]]:
    """Query ids, which name the passage, and texts."""
    words = {id: re.findall(r"[A-Za-z][A-Za-z'-]+", text) for id, text in passages.items()}
    common = Counter(word.lower() for some in words.values() for word in set(some))
    drawn = random.Random("weft-mini")
    for id in drawn.sample(sorted(passages), count):
        style = drawn.random()
        tokens = passages[id].split()
        length = drawn.randint(5, 24) if style < 0.5 else drawn.randint(3, 8)
        start = drawn.randrange(max(1, len(tokens) - length))
        span = " ".join(tokens[start : start + length])
        if 0.5 <= style < 0.8:
            rare = sorted(set(words[id]), key=lambda word: (common[word.lower()], word))[:14]
            span = " ".join(drawn.sample(rare, min(len(rare), length)))
        elif style >= 0.8:
            span = f"{drawn.choice(('what is', 'how does', 'why', 'what are'))} {span}?"
        if len(span) > 8:
            yield id, span.lower() if drawn.random() < 0.5 else span


class Stored:
    """MiniLM as teacher, over embeddings that are there.

    Args:
        texts: the pool.
        passages: its embeddings.
        asked: the queries' embeddings by their texts.
    """

    def __init__(
        self, texts: dict[str, str], passages: PassageEmbeddings, asked: dict[str, np.ndarray]
    ) -> None:
        self._passages, self._asked = passages, asked
        self._numbers = {text: number for number, text in enumerate(texts.values())}

    def numbers(self, texts: Sequence[str]) -> np.ndarray:
        """uint32: of passages."""
        return np.array([self._numbers[text] for text in texts], dtype=np.uint32)


class ByTokens(Stored):
    """MaxSim over all 384 dimensions."""

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts]."""
        offsets = self._passages.offsets
        question = self._asked[query]
        return kernels.maxsim(
            question, self._passages.embeddings, offsets, pids=self.numbers(texts)
        )


class ByMeans(Stored):
    """The cosine of mean token vectors, as MiniLM was trained to use them."""

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts]."""
        offsets, rows = self._passages.offsets, self._passages.embeddings
        numbers = self.numbers(texts).astype(np.int64)
        means = np.stack([rows[offsets[n] : offsets[n + 1]].mean(0, np.float32) for n in numbers])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        mean = self._asked[query].mean(0)
        return (means @ (mean / np.linalg.norm(mean))).astype(np.float32)


class Work:
    """The folders of a run."""

    def __init__(self, corpus: Path, folder: Path, collections: Path) -> None:
        self.corpus, self.folder, self.collections = corpus, folder, collections
        folder.mkdir(parents=True, exist_ok=True)
        self.cache = folder / "cache"

    @property
    def passages(self) -> dict[str, str]:
        """The pool."""
        return dict(Texts(self.folder / "passages.jsonl").items())

    def collection(self) -> Collection:
        """The pool as the benchmarks' tools take it."""
        return Collection("pool", self.passages, {}, {})

    @property
    def start(self) -> Path:
        """MiniLM with the principal directions of the pool."""
        place = self.folder / "start"
        if not place.is_dir():
            sample = list(self.passages.values())[::80]
            prepare(MINILM, place, dim=128, sample=sample, **RULES)
        return place

    def data(self, name: str, *, scored: bool) -> TrainingData:
        """Examples of a file."""
        texts = Texts(self.folder / "queries.jsonl"), Texts(self.folder / "passages.jsonl")
        return TrainingData(NWayFile(self.folder / name, scored=scored), *texts)


def stage_texts(work: Work) -> None:
    """Passages and queries."""
    passages = pool(work.corpus)
    write_texts(work.folder / "passages.jsonl", passages)
    made = {f"q{id}": text for id, text in queries(passages, QUERIES)}
    write_texts(work.folder / "queries.jsonl", made)
    print(f"{len(passages):,} passages, {len(made):,} queries")


def stage_lists(work: Work) -> None:
    """Passages that MiniLM ranks high and less high; the query's own is among few of them."""
    encoder = load_encoder(MINILM)
    folder = index_of(work.folder / "index", work.collection(), encoder, work.cache)
    asked = dict(Texts(work.folder / "queries.jsonl").items())
    ids, lists = list(asked), []
    with Index.open(folder, encoder=encoder) as index:
        for first in range(0, len(ids), 64):
            some = ids[first : first + 64]
            found = index.search_batch([asked[id] for id in some], DEPTH, effort="fast")
            lists += [
                chosen(id, [hit.id for hit in hits]) for id, hits in zip(some, found, strict=True)
            ]
            show(len(lists), len(ids))
    write_examples(work.folder / "lists.jsonl", [one for one in lists if one])


def chosen(query: str, ranking: list[str]) -> Example | None:
    """A list from all over a ranking."""
    drawn = random.Random(f"list {query}")
    if drawn.random() < 0.75:
        ranking = [id for id in ranking if f"q{id}" != query]
    some = [ranking[rank] for rank in RANKS if rank < len(ranking)]
    if len(some) < WAYS:
        return None
    return Example(query, (some[0], *drawn.sample(some[1:], WAYS - 1)), (), "")


def stage_score(work: Work) -> None:
    """The teacher's scores."""
    encoder = load_encoder(MINILM)
    passages = embed(work.collection(), encoder, work.cache)
    texts = list(Texts(work.folder / "queries.jsonl").values())
    asked = dict(zip(texts, encoder.encode_queries(texts), strict=True))
    stored = work.passages, passages, asked
    teacher = Blend([(ByTokens(*stored), 2.0), (ByMeans(*stored), 1.0)])
    data = work.data("lists.jsonl", scored=False)
    write_examples(work.folder / "scored.jsonl", score_examples(data, teacher, progress=show))


def stage_train(work: Work) -> None:
    """Distil."""
    encoder = TrainableEncoder.load(work.start)
    data = work.data("scored.jsonl", scored=True)
    Distillation(encoder, data, SETTINGS, work.folder / "run", progress=report).run()


def report(step: object) -> None:
    """A line every few steps."""
    if step.step % 20 == 0 or step.step == step.steps:
        print(f"  step {step.step} loss {step.loss:.4f} {step.seconds:.1f} s", flush=True)


def stage_pack(work: Work) -> None:
    """A byte per weight."""
    folder = write_compact(work.folder / "run" / MODEL, work.folder / "weft_mini")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB")


def stage_table(work: Work) -> None:
    """Start, result and the whole of MiniLM."""
    path = work.folder / "table.json"
    table = json.loads(path.read_text()) if path.is_file() else {}
    models = {
        "start, 128 dimensions": work.start,
        "trained, 128 dimensions, float32": work.folder / "run" / MODEL,
        "weft-mini, 128 dimensions, a byte per weight": work.folder / "weft_mini",
        "MiniLM, 384 dimensions": MINILM,
    }
    for system, place in models.items():
        for name in NAMES:
            key = f"{system}: {name}"
            if key not in table and (place == MINILM or Path(place).is_dir()):
                table[key] = measured(work, load_collection(work.collections / name), place)
                path.write_text(json.dumps(table, indent=2), encoding="utf-8")
                print(f"{key} {table[key]:.4f}", flush=True)
    print(f"| system | {' | '.join(NAMES)} |")
    for system in models:
        cells = [table.get(f"{system}: {name}") for name in NAMES]
        print(f"| {system} | " + " | ".join("–" if c is None else f"{c:.4f}" for c in cells) + " |")


def measured(work: Work, collection: Collection, place: str | Path) -> float:
    """nDCG@10 by exact MaxSim."""
    encoder = load_encoder(place, dtype="bf16")
    passages = embed(collection, encoder, work.cache)
    run = exact(collection, passages, encoder, dict(collection.queries))
    return ndcg(collection.qrels, run)


STAGES = {
    "texts": stage_texts,
    "lists": stage_lists,
    "score": stage_score,
    "train": stage_train,
    "pack": stage_pack,
    "table": stage_table,
}


def main() -> None:
    """Run the stages that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("stages", nargs="+", choices=STAGES)
    parser.add_argument("--collections", type=Path, default=Path())
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    work = Work(given.corpus, given.work, given.collections)
    for stage in given.stages:
        print(f"== {stage}", flush=True)
        STAGES[stage](work)


if __name__ == "__main__":
    main()
