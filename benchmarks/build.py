"""Time of building and of adding, codec training included, encoding not; and what it costs recall.

    python benchmarks/build.py --cache DIR [--passages 10000] [--dim 128] [--bits 4] [--added 1000]
        [--threads 2]

DIR holds the vectors that `python -m benchmarks.corpus.build` made. The index is built from
ready embeddings, without texts, in a temporary folder; `--added` further passages of the same
collection are then added and searched for. CPU time stands beside wall time: on a machine that
does other work as well, only the first says something.
"""

import argparse
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from corpus import load

import weft
from weft.kernels import active_target

BATCH = 5000


@contextmanager
def timed(what):
    """Print the wall and CPU seconds of a block."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:40} {wall:7.2f} s   {cpu:7.2f} CPU-s", flush=True)


def add(index, corpus, first, end):
    """Add passages first to end of the corpus, a batch at a time; their ids are their numbers."""
    for start in range(first, end, BATCH):
        pids = range(start, min(start + BATCH, end))
        rows = [corpus.embeddings[corpus.offsets[p] : corpus.offsets[p + 1]] for p in pids]
        index.add(ids=[str(p) for p in pids], embeddings=rows)


def recall(index, corpus, k):
    """Share of the k best passages found, at the default effort."""
    found = [[int(hit.id) for hit in index.search(query, k=k)] for query in corpus.queries]
    return corpus.recall(k, found)


def build(folder, corpus, options):
    """Build, measure, add, and search for what was added."""
    n_passages = len(corpus.offsets) - 1
    kept = n_passages - options.added
    index = weft.Index.create(
        folder, dim=options.dim, bits=options.bits, flat_below_tokens=1, threads=options.threads
    )
    with timed(f"add {kept:,} passages, flat"):
        add(index, corpus, 0, kept)
    with timed("train the codec and compress"):
        index.compact()
    with timed(f"add {options.added:,} passages, coded"):
        add(index, corpus, kept, n_passages)
    first = corpus.embeddings[corpus.offsets[kept] : corpus.offsets[kept + 1]][:32]
    with timed("search for one of them"):
        hits = index.search(np.asarray(first, dtype=np.float32), k=1)
    print(f"found: {hits[0].id == str(kept)}")
    for k in (10, 100):
        print(f"recall@{k}: {recall(index, corpus, k):.4f}")
    index.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--added", type=int, default=1000, help="of the passages, added last")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    corpus = load(options.cache, options.passages, options.dim)
    print(f"{options.passages:,} passages, {len(corpus.embeddings):,} tokens, {active_target()}")
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "index", corpus, options)


if __name__ == "__main__":
    main()
