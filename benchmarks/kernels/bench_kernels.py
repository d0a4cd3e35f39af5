"""Time each kernel family on each target of this machine; prints a table.

python benchmarks/kernels/bench_kernels.py [--dim 128] [--threads 1]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weft import kernels

N_CENTROIDS, N_QUERIES, TOKENS_PER_PASSAGE, N_PASSAGES, BITS = 16384, 32, 80, 500, 4


@dataclass(frozen=True)
class Case:
    """One measurement: what runs, how many units it handles, multiplications per unit."""

    name: str
    run: Callable[[], object]
    units: int
    unit: str
    macs: int = 0


def best_seconds(run: Callable[[], object], repeats: int = 7) -> float:
    """The fastest of a few runs: noise only ever adds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def make_cases(dim: int, threads: int) -> list[Case]:
    """Every family on arrays of the size of a small collection."""
    generator = np.random.default_rng(0)
    n = N_PASSAGES * TOKENS_PER_PASSAGE
    embeddings = generator.normal(size=(n, dim)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    centroids = generator.permutation(embeddings)[:N_CENTROIDS].copy()
    query, halves, some = embeddings[:N_QUERIES].copy(), embeddings.astype("f2"), embeddings[:1000]
    offsets = np.arange(0, n + 1, TOKENS_PER_PASSAGE)
    pids = np.arange(N_PASSAGES, dtype=np.uint32)
    codes = generator.integers(0, N_CENTROIDS, n).astype(np.uint16)
    spread = embeddings[:2000] - centroids[codes[:2000]]
    levels = 1 << BITS
    cutoffs = np.quantile(spread, np.arange(1, levels) / levels).astype(np.float32)
    weights = np.quantile(spread, (np.arange(levels) + 0.5) / levels).astype(np.float32)
    codebook = (weights, (0.25, 2.0))
    scores = kernels.centroid_scores(centroids, query)
    coded = kernels.compress(embeddings, centroids, codes, cutoffs, *codebook)
    threshold = float(np.quantile(scores.max(axis=1), 0.5))
    buffer = generator.integers(0, 256, 1 << 24).astype(np.uint8)
    use = {"threads": threads}
    per_token, k = N_QUERIES * dim, kernels
    return [
        Case(
            "centroid_scores",
            lambda: k.centroid_scores(centroids, query, **use),
            N_CENTROIDS,
            "centroid",
            per_token,
        ),
        Case("top_centroids 4", lambda: k.top_centroids(scores, 4), N_CENTROIDS, "centroid"),
        Case(
            "centroid_interaction",
            lambda: k.centroid_interaction(scores, codes, offsets, pids, **use),
            n,
            "token",
        ),
        Case(
            "  pruned to half",
            lambda: k.centroid_interaction(
                scores, codes, offsets, pids, threshold=threshold, **use
            ),
            n,
            "token",
        ),
        Case(
            "maxsim float32",
            lambda: k.maxsim(query, embeddings, offsets, **use),
            n,
            "token",
            per_token,
        ),
        Case(
            "maxsim float16", lambda: k.maxsim(query, halves, offsets, **use), n, "token", per_token
        ),
        Case(
            "maxsim_residual 4 bits",
            lambda: k.maxsim_residual(query, scores, codes, *coded, *codebook, offsets, **use),
            n,
            "token",
            per_token,
        ),
        Case("topk 10", lambda: k.topk(scores[:, 0].copy(), 10), N_CENTROIDS, "score"),
        Case("assign", lambda: k.assign(some, centroids, **use), 1000, "token", N_CENTROIDS * dim),
        Case(
            "compress 4 bits",
            lambda: k.compress(embeddings, centroids, codes, cutoffs, *codebook, **use),
            n,
            "token",
        ),
        Case(
            "decompress 4 bits",
            lambda: k.decompress(codes, *coded, centroids, *codebook, **use),
            n,
            "token",
        ),
        Case("crc32c", lambda: k.crc32c(buffer), buffer.size // 1024, "KiB"),
    ]


def processor() -> str:
    """The processor's name where the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Print one row per family and one pair of columns per target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    print(f"{processor()}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(f"dim {given.dim}, {N_QUERIES} query vectors, K {N_CENTROIDS}, threads {given.threads}\n")
    targets = kernels.targets()
    heads = "".join(f"{name + ' ns':>14}{'GMAC/s':>9}" for name in targets)
    print(f"{'':24}{'per':>9}{heads}")
    for case in make_cases(given.dim, given.threads):
        row = f"{case.name:24}{case.unit:>9}"
        for name in targets:
            with kernels.use_target(name):
                seconds = best_seconds(case.run)
            rate = f"{case.units * case.macs / seconds / 1e9:.1f}" if case.macs else ""
            row += f"{seconds / case.units * 1e9:>14.1f}{rate:>9}"
        print(row)


if __name__ == "__main__":
    main()
