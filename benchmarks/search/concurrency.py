"""Throughput and latency of 1, 2, 8 and 64 callers at once, of batches, and of threads on a query.

    python -m benchmarks.search.concurrency --cache DIR [--passages 100000] [--dim 128] [--bits 4]
        [--seconds 5] [--rounds 3]

DIR holds the vectors that `python -m benchmarks.corpus.build` made; the index is built there once.
Callers are threads of one process that search one open index, k = 10, one query after the other,
each with one thread. Rounds take turns with the numbers of callers. Throughput is that of the
median round; p50 and p99 are over all searches; the slowest caller is the one with fewest
searches, as a share of the mean.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import weft

from .indexes import open_index, percentile

CALLERS = (1, 2, 8, 64)


@dataclass
class Seen:
    """What some callers saw, over the rounds."""

    rates: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    fairness: list[float] = field(default_factory=list)


def call(index: weft.Index, queries: list, first: int, until: float, out: list[float]) -> None:
    """One caller: searches until the time is over, noting how long each took."""
    number = first
    while (start := time.perf_counter()) < until:
        index.search(queries[number % len(queries)], k=10, threads=1)
        out.append((time.perf_counter() - start) * 1000)
        number += 1


def one_round(index: weft.Index, queries: list, callers: int, seconds: float, seen: Seen) -> None:
    """Let the callers go at once."""
    times: list[list[float]] = [[] for _ in range(callers)]
    start = time.perf_counter()
    threads = [
        threading.Thread(target=call, args=(index, queries, 7 * i, start + seconds, times[i]))
        for i in range(callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    counts = [len(own) for own in times]
    seen.rates.append(sum(counts) / elapsed)
    seen.fairness.append(min(counts) / statistics.mean(counts))
    seen.milliseconds += [one for own in times for one in own]


def callers_at_once(index: weft.Index, queries: list, options: argparse.Namespace) -> None:
    """The table of callers."""
    seen = {callers: Seen() for callers in CALLERS}
    for _ in range(options.rounds):
        for callers in CALLERS:
            one_round(index, queries, callers, options.seconds, seen[callers])
    two = statistics.median(seen[2].rates)
    print(f"{'callers':>7} {'q/s':>7} {'of 2':>5} {'p50 ms':>7} {'p99 ms':>7} {'slowest':>8}")
    for callers, own in seen.items():
        rate = statistics.median(own.rates)
        print(
            f"{callers:7} {rate:7.0f} {rate / two:5.2f} {percentile(own.milliseconds, 0.5):7.2f} "
            f"{percentile(own.milliseconds, 0.99):7.2f} {min(own.fairness):8.2f}"
        )


def batches(index: weft.Index, queries: list, options: argparse.Namespace) -> None:
    """Queries per second of search_batch, which spreads queries over threads."""
    rates = []
    for _ in range(3 * options.rounds):
        start = time.perf_counter()
        index.search_batch(queries, k=10)
        rates.append(len(queries) / (time.perf_counter() - start))
    print(
        f"search_batch, {len(queries)} queries: median {statistics.median(rates):.0f} queries/s "
        f"({min(rates):.0f} to {max(rates):.0f} in {len(rates)} rounds)"
    )


def threads_on_one_query(index: weft.Index, queries: list, options: argparse.Namespace) -> None:
    """Each query with one thread and with two, right after each other."""
    milliseconds: dict[int, list[float]] = {1: [], 2: []}
    for number, query in enumerate(queries * options.rounds):
        for threads in (1, 2) if number % 2 else (2, 1):
            start = time.perf_counter()
            index.search(query, k=10, threads=threads)
            milliseconds[threads].append((time.perf_counter() - start) * 1000)
    one, two = (statistics.median(milliseconds[threads]) for threads in (1, 2))
    pairs = [a / b for a, b in zip(milliseconds[1], milliseconds[2], strict=True)]
    print(
        f"one query: p50 {one:.2f} ms with one thread, {two:.2f} with two: {one / two:.2f} x "
        f"(median of pairs {statistics.median(pairs):.2f} x)"
    )


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rebuild", action="store_true")
    options = parser.parse_args()
    index, corpus = open_index(
        options.cache, options.passages, options.dim, options.bits, rebuild=options.rebuild
    )
    with index:
        index.search_batch(corpus.queries, k=10)  # blocks are checked, memory is there
        callers_at_once(index, corpus.queries, options)
        batches(index, corpus.queries, options)
        threads_on_one_query(index, corpus.queries, options)


if __name__ == "__main__":
    main()
