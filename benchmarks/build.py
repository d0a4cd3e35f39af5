"""Time and memory of building, adding and deleting; and the recall that is left.

    python benchmarks/build.py --cache DIR [--passages 10000] [--dim 128] [--bits 4] [--added 1000]
        [--deleted 1000] [--threads 2] [--folder DIR]

DIR holds the vectors that `python -m benchmarks.corpus.build` made; encoding is not measured.
The index is built from ready embeddings, without texts, in a temporary folder: `add` stores them
as they are, `compact` trains the codec and compresses. Further passages of the same collection
are then added, searched for, and others deleted.

Wall time and, of it, what was spent in fsync, where the disk dominates; CPU seconds of all
threads and of the calling one, which on a machine that does other work as well say more; and the
highest anonymous memory (RssAnon, looked at 200 times a second), which mapped files are no part of.
"""

import argparse
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from corpus import load

import weft
from weft.kernels import active_target

BATCH = 5000
STATUS = Path("/proc/self/status")


def anonymous_mb():
    """RssAnon of this process in MB; 0 where there is no /proc."""
    if not STATUS.exists():
        return 0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) // 1024


class Meter:
    """Times blocks, and watches memory and fsync meanwhile."""

    def __init__(self):
        self.synced, self.peak = 0.0, 0
        self._fsync, os.fsync = os.fsync, self._timed_fsync
        threading.Thread(target=self._watch, daemon=True).start()

    def _timed_fsync(self, descriptor):
        start = time.perf_counter()
        self._fsync(descriptor)
        self.synced += time.perf_counter() - start

    def _watch(self):
        while True:
            self.peak = max(self.peak, anonymous_mb())
            time.sleep(0.005)

    @contextmanager
    def measured(self, what):
        """Print what a block cost."""
        clocks = (time.perf_counter, time.process_time, time.thread_time)
        self.synced, self.peak = 0.0, anonymous_mb()
        before = [clock() for clock in clocks]
        yield
        wall, cpu, own = (clock() - start for clock, start in zip(clocks, before, strict=True))
        print(
            f"{what:32} {wall:7.2f} {self.synced:7.2f} {cpu:7.2f} {own:7.2f} "
            f"{max(self.peak, anonymous_mb()):7,}",
            flush=True,
        )


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


def size_mb(folder):
    """Bytes of all files in a folder, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def build(folder, corpus, options):
    """Build, add, search for what was added, and delete."""
    meter = Meter()
    kept = len(corpus.offsets) - 1 - options.added
    index = weft.Index.create(
        folder, dim=options.dim, bits=options.bits, flat_below_tokens=1, threads=options.threads
    )
    print(f"{'':32} {'wall':>7} {'fsync':>7} {'CPU':>7} {'caller':>7} {'MB':>7}")
    with meter.measured(f"add {kept:,} passages, flat"):
        add(index, corpus, 0, kept)
    with meter.measured("train the codec and compress"):
        index.compact()
    with meter.measured("first search"):
        index.search(corpus.queries[0], k=10)
    with meter.measured(f"add {options.added:,} passages, coded"):
        add(index, corpus, kept, kept + options.added)
    first = corpus.embeddings[corpus.offsets[kept] : corpus.offsets[kept + 1]][:32]
    with meter.measured("search for one of them"):
        hits = index.search(np.asarray(first, dtype=np.float32), k=1)
    found = {k: recall(index, corpus, k) for k in (10, 100)}
    with meter.measured(f"delete {options.deleted:,} passages"):
        index.delete([str(p) for p in range(options.deleted)])
    print(f"found: {hits[0].id == str(kept)}; index {size_mb(folder):,.0f} MB")
    print("; ".join(f"recall@{k} {share:.4f}" for k, share in found.items()))
    index.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--added", type=int, default=1000, help="of the passages, added last")
    parser.add_argument("--deleted", type=int, default=1000, help="of the passages, at last")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    options = parser.parse_args()
    corpus = load(options.cache, options.passages, options.dim)
    print(f"{options.passages:,} passages, {len(corpus.embeddings):,} tokens, {active_target()}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        build(Path(folder) / "index", corpus, options)


if __name__ == "__main__":
    main()
