"""What a filter costs and finds, beside the same searches without one.

    python -m benchmarks.search.filters --cache DIR [--passages 100000] [--dim 128] [--bits 4]
        [--rounds 3]

The filter leaves 1 % of the passages, `{"part": n}`, n another one from query to query. Searches
with and without it take turns; recall@10 is against exact scores among the passages that it leaves.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

import weft
from benchmarks.corpus.loader import Corpus

from .indexes import PARTS, open_index

TOLERANCE = 1e-4


def found_share(corpus: Corpus, number: int, part: int, hits: list[weft.Hit]) -> float:
    """Recall@10 of one filtered answer."""
    allowed = np.asarray(corpus.all_scores[number, part::PARTS], dtype=np.float32)
    least = np.sort(allowed)[-10] - TOLERANCE
    good = [corpus.all_scores[number, int(hit.id)] >= least for hit in hits]
    if any(int(hit.id) % PARTS != part for hit in hits):
        raise SystemExit(f"query {number}: a hit is not of part {part}")
    return sum(good) / 10


def compare(index: weft.Index, corpus: Corpus, rounds: int) -> None:
    """Take turns, print the medians."""
    milliseconds: dict[str, list[float]] = {"without": [], "with": []}
    shares, whole = [], []
    for _ in range(rounds):
        for number, query in enumerate(corpus.queries):
            part = number * 37 % PARTS
            for what, condition in (("without", None), ("with", {"part": part})):
                start = time.perf_counter()
                hits = index.search(query, k=10, filter=condition, threads=1)
                milliseconds[what].append((time.perf_counter() - start) * 1000)
                if what == "with":
                    shares.append(found_share(corpus, number, part, hits))
                else:
                    whole.append([int(hit.id) for hit in hits])
    plain, filtered = (statistics.median(milliseconds[w]) for w in ("without", "with"))
    n = len(corpus.queries)
    print(f"without a filter: p50 {plain:.2f} ms, recall@10 {corpus.recall(10, whole[:n]):.4f}")
    print(f"1 % left:         p50 {filtered:.2f} ms, recall@10 {statistics.mean(shares):.4f}")


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    index, corpus = open_index(options.cache, options.passages, options.dim, options.bits)
    with index:
        index.search_batch(corpus.queries, k=10)
        compare(index, corpus, options.rounds)


if __name__ == "__main__":
    main()
