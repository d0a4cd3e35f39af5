"""Recall over age: a collection that grows while its topic shifts, at ten points in time.

    python benchmarks/ingestion/age.py --cache DIR [--passages 20000] [--dim 128] [--bits 4]

DIR holds the vectors that `python -m benchmarks.corpus.build` made. The passages come source after
source (a dictionary, then the anarchists' FAQ, then hackers' slang, then computing terms), so
that a codec trained on the first has never seen the like of the last. Compared at the same search
setting, all fed from the same ready embeddings:

    frozen   the codec of the first tenth, never touched again
    ours     `Index.maintain` after each batch of 500, as workers do every few seconds
    rebuilt  a new index of everything, after each tenth

Recall@10 against exact MaxSim of the fp32 vectors, over the queries whose text was not indexed;
CPU seconds of all threads for what keeps the codec up to date: training, appending, converting and
merging for ours, the whole build for rebuilt. At the end the median time of a search in each, one
query at a time on one thread.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus import load

import weft

SOURCES = ("dict-gcide", "anarchism", "dict-jargon", "dict-foldoc")
BATCH = 500
K = 10
TOLERANCE = 1e-4
SETTINGS = {"effort": "balanced"}


def shifting_order(cache, n):
    """The first n passages, source after source, each source in its own order."""
    with (Path(cache) / "passages.jsonl").open(encoding="utf-8") as lines:
        sources = [json.loads(line)["source"] for line, _ in zip(lines, range(n), strict=False)]
    known = {source: number for number, source in enumerate(SOURCES)}
    return np.argsort([known.get(source, len(known)) for source in sources], kind="stable")


class Growing:
    """An index that is fed in steps.

    Args:
        folder: for its files.
        corpus: of the passages.
        bits: of its codec.
    """

    def __init__(self, folder, corpus, bits):
        self.corpus, self.bits, self.folder = corpus, bits, Path(folder)
        self.cpu_seconds = 0.0
        self.index = self._new()

    def _new(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        corpus = self.corpus
        return weft.Index.create(
            self.folder, dim=corpus.embeddings.shape[1], bits=self.bits, flat_below_tokens=0
        )

    def add(self, pids, maintained=False):
        """Add passages in batches, as workers would."""
        offsets = self.corpus.offsets
        for start in range(0, len(pids), BATCH):
            some = pids[start : start + BATCH]
            rows = [self.corpus.embeddings[offsets[p] : offsets[p + 1]] for p in some]
            self.index.add(ids=[str(p) for p in some], embeddings=rows)
            if maintained:
                self.timed(self.index.maintain)

    def timed(self, action):
        """Run what keeps the codec up to date."""
        before = time.process_time()
        action()
        self.cpu_seconds += time.process_time() - before

    def rebuild(self, pids):
        """Everything anew."""
        self.index.close()
        self.index = self._new()
        self.add(pids)
        self.index.compact()

    def recall(self, pids):
        """Mean recall@10 over the queries, of the passages that are there."""
        scores = self.corpus.all_scores[:, pids]
        bounds = np.partition(scores, -K, axis=1)[:, -K] - TOLERANCE
        found = self.index.search_batch(self.corpus.queries, K, **SETTINGS)
        hits = [
            sum(self.corpus.all_scores[q, int(hit.id)] >= bounds[q] for hit in query)
            for q, query in enumerate(found)
        ]
        return float(np.mean(hits)) / K

    def search_ms(self):
        """Median time of a search."""
        took = []
        with weft.Index.open(self.folder, threads=1) as index:
            for query in self.corpus.queries:
                started = time.perf_counter()
                index.search(query, K, **SETTINGS)
                took.append(1000 * (time.perf_counter() - started))
        return float(np.median(took))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cache", required=True)
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--points", type=int, default=10)
    given = parser.parse_args()
    corpus = load(given.cache, given.passages, given.dim)
    order = shifting_order(given.cache, given.passages)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            name: Growing(Path(folder) / name, corpus, given.bits)
            for name in ("frozen", "ours", "rebuilt")
        }
        print(f"{'passages':>9} " + " ".join(f"{name:>8} {'CPU s':>7}" for name in kinds))
        points = []
        for point in range(1, given.points + 1):
            end = len(order) * point // given.points
            begin = len(order) * (point - 1) // given.points
            points.append(step(kinds, order[begin:end], order[:end], point))
        summarise(kinds, np.array(points))


def step(kinds, new, present, point):
    """Feed one step to all, and print a line."""
    kinds["frozen"].add(new)
    # The first tenth comes at once, so that all codecs begin with the same passages.
    kinds["ours"].add(new, maintained=point > 1)
    if point == 1:
        kinds["frozen"].timed(kinds["frozen"].index.compact)
        kinds["ours"].timed(kinds["ours"].index.maintain)
    kinds["rebuilt"].timed(lambda: kinds["rebuilt"].rebuild(present))
    recalls = [kind.recall(present) for kind in kinds.values()]
    cells = [f"{r:8.4f} {k.cpu_seconds:7.1f}" for r, k in zip(recalls, kinds.values(), strict=True)]
    print(f"{len(present):9,} " + " ".join(cells), flush=True)
    return recalls


def summarise(kinds, points):
    """What the bars are about."""
    _, ours, rebuilt = points.T
    worst, mean = (ours - rebuilt).min(), (ours - rebuilt).mean()
    share = kinds["ours"].cpu_seconds / kinds["rebuilt"].cpu_seconds
    print(f"ours less rebuilt: {worst:+.4f} at worst, {mean:+.4f} in the mean")
    print(f"ours takes {share:.0%} of the CPU time of the rebuilds")
    for name, kind in kinds.items():
        (*_, epoch) = kind.index.stats().epochs
        print(f"{name:8} {epoch.n_centroids:,} centroids, {kind.search_ms():.2f} ms a search")


if __name__ == "__main__":
    main()
