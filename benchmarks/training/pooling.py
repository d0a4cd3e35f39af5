"""What token pooling costs: nDCG@10 and vectors left at factors 1 to 4.

    python benchmarks/training/pooling.py COLLECTIONS... --cache DIR [--encoder NAME]

Vectors are encoded once (or read from the cache of `weft evaluate`), pooled, and scored exactly.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import embed, exact, load_collection, ndcg

from weft.engine.encoder import load_encoder
from weft.engine.encoder.pooling import pool_tokens
from weft.engine.evaluation.embeddings import PassageEmbeddings

FACTORS = (1, 2, 3, 4)


def pooled(passages: PassageEmbeddings, factor: int) -> PassageEmbeddings:
    """The same passages with fewer vectors."""
    ends = passages.offsets
    rows = [
        pool_tokens(passages.embeddings[a:b].astype(np.float32), factor).astype(np.float16)
        for a, b in itertools.pairwise(ends)
    ]
    doclens = np.array([len(some) for some in rows], dtype=np.uint32)
    return replace(passages, embeddings=np.concatenate(rows), doclens=doclens)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--encoder")
    given = parser.parse_args()
    encoder = load_encoder(given.encoder)
    print("| collection | factor | vectors | of all | nDCG@10 |")
    print("|---|---:|---:|---:|---:|")
    for folder in given.collections:
        collection = load_collection(folder)
        whole = embed(collection, encoder, given.cache)
        for factor in FACTORS:
            passages = pooled(whole, factor)
            run = exact(collection, passages, encoder, dict(collection.queries))
            quality = ndcg(collection.qrels, run)
            share = passages.n_tokens / whole.n_tokens
            print(
                f"| {collection.name} | {factor} | {passages.n_tokens:,} | {share:.0%} "
                f"| {quality:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
