"""What hybrid search costs beside late interaction: python benchmarks/hybrid.py CACHE -n 100000

CACHE holds the benchmark's corpus, see `benchmarks/corpus`. Each query is a passage's own first
words; times are of single searches on one thread, encoding excluded.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from corpus import load, read_texts

import weft
from weft.engine.search.bm25 import word_scores
from weft.engine.storage.fulltext import split_words

BATCH = 5000
COMMON = "the of and to in a is that for it as was with be by on not he his"


def build(folder, corpus, texts, bits):
    index = weft.Index.create(folder, dim=corpus.dim, bits=bits, flat_below_tokens=1)
    for first in range(0, len(texts), BATCH):
        numbers = range(first, min(first + BATCH, len(texts)))
        rows = [np.asarray(corpus.passage(n)) for n in numbers]
        index.add([texts[n] for n in numbers], ids=[str(n) for n in numbers], embeddings=rows)
    index.compact()
    index.close()
    return weft.Index.open(folder, threads=1)


def milliseconds(calls):
    found = []
    for call in calls:
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1000)
    return f"median {np.median(found):7.2f}   95th percentile {np.percentile(found, 95):7.2f}   " \
           f"most {max(found):7.2f}"  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--bits", type=int, default=4)
    given = parser.parse_args()
    corpus = load(given.cache, given.n, 128)
    texts = [text for text, _ in zip(read_texts(given.cache), range(given.n), strict=False)]
    queries = list(zip(corpus.queries, read_texts(given.cache, "queries"), strict=True))
    with tempfile.TemporaryDirectory(prefix="weft-hybrid-") as folder:
        index = build(Path(folder) / "index", corpus, texts, given.bits)
        ways = {
            "late interaction, k 10": (10, {}),
            "late interaction, k 100": (100, {}),
            "hybrid, rrf, k 10, words not read before": (10, {"hybrid": "rrf"}),
            "hybrid, rrf, k 10": (10, {"hybrid": "rrf"}),
            "hybrid, weighted, k 10": (10, {"hybrid": "weighted"}),
            "BM25 alone, k 10": (10, {"hybrid": 0}),
        }
        for name, (k, parameters) in ways.items():
            text = "hybrid" in parameters
            calls = [
                lambda v=v, t=t, k=k, p=parameters, text=text: index.search(
                    v, k, **p, query_text=t if text else None
                )
                for v, t in queries
            ]
            print(f"{name:42} {milliseconds(calls)}", flush=True)
        fresh = weft.Index.open(Path(folder) / "index", threads=1)
        for name in ("common words alone, first time", "common words alone, again"):
            with fresh.snapshot() as view:
                call = partial(word_scores, split_words(COMMON), view.segments)
                print(f"{name:42} {milliseconds([call])}")


if __name__ == "__main__":
    main()
