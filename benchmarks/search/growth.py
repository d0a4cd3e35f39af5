"""How cost grows with the collection: real passages, then resampled ones.

    python -m benchmarks.search.growth --cache DIR [--sizes 10000 40000 100000 400000] [--dim 128]
        [--bits 4] [--queries 50] [--rounds 3] [--work DIR]

DIR holds the vectors that `python -m benchmarks.corpus.build` made. Up to the passages that it has
they are real; each further one is a real passage, drawn anew, of which every vector was moved by
Gaussian noise of length NOISE and normalised: it is no duplicate, and is none of the queries' own
passages either. Times are wall clock of one thread, one query after the other, the median of all;
recall is against exact fp32 scores by PyTorch. Each size is built anew from nothing, with all
cores, in a folder that is removed afterwards, and searched by another process, of which `grew` says
how much memory that belongs to no file it took from before opening until after 1,000 searches.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import weft
from benchmarks.corpus import Corpus, load
from benchmarks.corpus.layout import SIZES, Layout
from benchmarks.corpus.scoring import score_passages

Array = np.ndarray[Any, Any]

BATCH = 5_000
NOISE = 0.5
TOLERANCE = 1e-4
K = 10


@dataclass(frozen=True)
class Grown:
    """Passages of a size, batch by batch, and the queries that are asked.

    Args:
        corpus: the real passages.
        n_passages: wanted, more than there are real ones or as many at most.
        queries: float32 [32, dim] each.
    """

    corpus: Corpus
    n_passages: int
    queries: list[Array]

    def batches(self) -> Iterator[list[Array]]:
        """Float16 [tokens, dim] of each passage, the same at every call."""
        for first in range(0, self.n_passages, BATCH):
            numbers = range(first, min(first + BATCH, self.n_passages))
            generator = np.random.default_rng(first)
            yield [self._passage(number, generator) for number in numbers]

    def _passage(self, number: int, generator: np.random.Generator) -> Array:
        if number < self.corpus.n_passages:
            return self.corpus.passage(number)
        real = self.corpus.passage(int(generator.integers(self.corpus.n_passages)))
        moved = real + generator.standard_normal(real.shape, dtype=np.float32) * np.float32(
            NOISE / np.sqrt(real.shape[1])
        )
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved, dtype=np.float16)

    def exact_scores(self) -> Array:
        """Float32 [queries, n_passages] by PyTorch."""
        lengths = np.array([len(query) for query in self.queries])
        together = np.concatenate(self.queries)
        parts = []
        for passages in self.batches():
            offsets = np.cumsum([0, *map(len, passages)])
            rows = np.concatenate(passages).astype(np.float32)
            parts.append(score_passages(together, lengths, rows, offsets))
        return np.concatenate(parts, axis=1)


def build(folder: Path, grown: Grown, dim: int, bits: int) -> float:
    """Add, train and compress; seconds of Weft's own."""
    seconds = 0.0
    with weft.Index.create(folder, dim=dim, bits=bits, flat_below_tokens=1) as index:
        first = 0
        for passages in grown.batches():
            ids = [str(number) for number in range(first, first + len(passages))]
            start = time.perf_counter()
            index.add(ids=ids, embeddings=passages)
            seconds += time.perf_counter() - start
            first += len(passages)
        start = time.perf_counter()
        index.compact()
        return seconds + time.perf_counter() - start


def anonymous_megabytes() -> float:
    """Memory of this process that belongs to no file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def searched(index: weft.Index, grown: Grown, scores: Array, rounds: int, effort: str) -> str:
    """Median milliseconds and recall at one effort."""
    milliseconds, shares = [], []
    for turn in range(rounds):
        for query, exact in zip(grown.queries, scores, strict=True):
            start = time.perf_counter()
            hits = index.search(query, K, effort=effort, threads=1)
            milliseconds.append((time.perf_counter() - start) * 1000)
            if turn == 0:
                least = np.partition(exact, -K)[-K] - TOLERANCE
                shares.append(sum(exact[int(hit.id)] >= least for hit in hits) / K)
    return f"{statistics.median(milliseconds):6.2f} ms {statistics.mean(shares):.3f}"


def measure(folder: Path, grown: Grown, rounds: int) -> str:
    """What searching an index of one size costs."""
    before = anonymous_megabytes()
    start = time.perf_counter()
    with weft.Index.open(folder) as index:
        opened = time.perf_counter() - start
        for query in grown.queries * (1_000 // len(grown.queries)):
            index.search(query, K, threads=1)
        grew = anonymous_megabytes() - before
        stats = index.stats()
        scores = grown.exact_scores()
        found = [searched(index, grown, scores, rounds, e) for e in ("balanced", "fast")]
        start = time.perf_counter()
        index.search_batch(grown.queries * 10, K)
        rate = 10 * len(grown.queries) / (time.perf_counter() - start)
    return (
        f"{grown.n_passages:>9,} | {found[0]} | {found[1]} | {rate:5.0f} | {opened:.2f} | "
        f"{stats.bytes_per_token:.1f} | {grew:.0f}"
    )


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns that runs in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments).result()


def cost(options: argparse.Namespace, size: int) -> str:
    """One line of the table."""
    there = [n for n in SIZES if Layout(options.cache).truth(n, options.dim).exists()]
    real = max(n for n in there if n <= max(size, there[0]))
    with tempfile.TemporaryDirectory(dir=options.work or options.cache) as folder:
        index = Path(folder) / "index"
        what = (options.cache, real, options.dim, size, options.queries)
        built = in_a_process(build_grown, index, what, options.bits)
        line = in_a_process(measure_grown, index, what, options.rounds)
    return f"{line} | {built:.0f}"


def grown_of(cache: Path, real: int, dim: int, size: int, n_queries: int) -> Grown:
    """The passages of a size."""
    corpus = load(cache, real, dim)
    return Grown(corpus, size, corpus.queries[:n_queries])


def build_grown(folder: Path, what: tuple[Any, ...], bits: int) -> float:
    """`build`, from what a process can be sent."""
    grown = grown_of(*what)
    return build(folder, grown, grown.corpus.dim, bits)


def measure_grown(folder: Path, what: tuple[Any, ...], rounds: int) -> str:
    """`measure`, likewise."""
    return measure(folder, grown_of(*what), rounds)


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES, 400_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where indexes are built; the cache if left out")
    options = parser.parse_args()
    print("passages | balanced | fast | batch q/s | open s | bytes/token | grew MB | build s")
    for size in options.sizes:
        print(cost(options, size), flush=True)


if __name__ == "__main__":
    main()
