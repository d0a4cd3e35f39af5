"""Time each kernel family on each target of this machine; prints a table.

python benchmarks/kernels/bench_kernels.py [--dim 128] [--threads 1]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft import kernels

Array = NDArray[Any]

N_CENTROIDS, N_QUERIES, TOKENS_PER_PASSAGE, N_PASSAGES, BITS = 16384, 32, 80, 500, 4

BYTES_PER_NANOSECOND, FLOATS_PER_NANOSECOND, GATHERED_ROW = 141.0, 30.0, 1.8
"""What one Zen 4 core does at best: products of bytes (VNNI), products of float32, and the
nanoseconds it takes to gather 32 bytes from a table of half a MB and take their maxima."""


@dataclass(frozen=True)
class Case:
    """One measurement.

    Args:
        name: of the family.
        run: what is timed.
        units: how many it handles.
        unit: what they are.
        macs: multiplications per unit.
        less: part of `run`, whose time does not count.
        floor: the nanoseconds a unit needs at least on one Zen 4 core with AVX-512.
    """

    name: str
    run: Callable[[], object]
    units: int
    unit: str
    macs: int = 0
    less: Callable[[], object] | None = None
    floor: float = 0.0

    def seconds(self) -> float:
        """Of one run."""
        rest = best_seconds(self.less) if self.less is not None else 0.0
        return max(best_seconds(self.run) - rest, 1e-9)


def best_seconds(run: Callable[[], object], repeats: int = 7) -> float:
    """The fastest of a few runs: noise only ever adds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@dataclass(frozen=True)
class Data:
    """Arrays of the size of a small collection, in each of their forms.

    Args:
        embeddings: float32 [N_PASSAGES * TOKENS_PER_PASSAGE, dim], unit rows.
        centroids: float32 [N_CENTROIDS, dim].
        query: float32 [N_QUERIES, dim].
        offsets: int64 [N_PASSAGES + 1].
        codes: uint16, the centroid number of each embedding.
        cutoffs, weights: of the buckets, float32 [2^BITS - 1] and [2^BITS].
        scores: float32 [N_CENTROIDS, N_QUERIES].
    """

    embeddings: Array
    centroids: Array
    query: Array
    offsets: Array
    codes: Array
    cutoffs: Array
    weights: Array
    scores: Array

    @property
    def n_tokens(self) -> int:
        """Embeddings."""
        return len(self.embeddings)

    @property
    def per_token(self) -> int:
        """Multiplications that score an embedding against the query."""
        return int(self.query.size)

    @property
    def codebook(self) -> tuple[Array, tuple[float, float]]:
        """Bucket weights and the range of inverse norms."""
        return self.weights, (0.25, 2.0)


def make_data(dim: int) -> Data:
    """Random embeddings, some of which are centroids."""
    generator = np.random.default_rng(0)
    n = N_PASSAGES * TOKENS_PER_PASSAGE
    embeddings = generator.normal(size=(n, dim)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    centroids = generator.permutation(embeddings)[:N_CENTROIDS].copy()
    codes = generator.integers(0, N_CENTROIDS, n).astype(np.uint16)
    spread = embeddings[:2000] - centroids[codes[:2000]]
    levels = 1 << BITS
    query = embeddings[:N_QUERIES].copy()
    return Data(
        embeddings=embeddings,
        centroids=centroids,
        query=query,
        offsets=np.arange(0, n + 1, TOKENS_PER_PASSAGE),
        codes=codes,
        cutoffs=np.quantile(spread, np.arange(1, levels) / levels).astype(np.float32),
        weights=np.quantile(spread, (np.arange(levels) + 0.5) / levels).astype(np.float32),
        scores=kernels.centroid_scores(centroids, query),
    )


def centroid_cases(data: Data, threads: int) -> Iterator[Case]:
    """The first stages of a search, on centroid scores."""
    scores, centroids, query = data.scores, data.centroids, data.query
    pids = np.arange(N_PASSAGES, dtype=np.uint32)
    interaction = partial(
        kernels.centroid_interaction, scores, data.codes, data.offsets, pids, threads=threads
    )
    threshold = float(np.quantile(scores.max(axis=1), 0.5))
    every = partial(kernels.centroid_scores, centroids, query, threads=threads)
    yield Case("centroid_scores", every, N_CENTROIDS, "centroid", data.per_token)
    best = partial(kernels.top_centroids, scores, 4)
    yield Case("top_centroids 4", best, N_CENTROIDS, "centroid")
    yield Case("centroid_interaction", interaction, data.n_tokens, "token")
    pruned = partial(interaction, threshold=threshold)
    yield Case("  pruned to half", pruned, data.n_tokens, "token")


def maxsim_cases(data: Data, threads: int) -> Iterator[Case]:
    """Exact scores, of each form that embeddings are kept in; and the choice of the best."""
    query, offsets = data.query, data.offsets
    for name in ("float32", "float16"):
        rows = data.embeddings.astype(name)
        run = partial(kernels.maxsim, query, rows, offsets, threads=threads)
        yield Case(f"maxsim {name}", run, data.n_tokens, "token", data.per_token)
    coded = compressed(data)
    arrays = (query, data.scores, data.codes, *coded, *data.codebook, offsets)
    run = partial(kernels.maxsim_residual, *arrays, threads=threads)
    yield Case(f"maxsim_residual {BITS} bits", run, data.n_tokens, "token", data.per_token)
    column = data.scores[:, 0].copy()
    yield Case("topk 10", partial(kernels.topk, column, 10), N_CENTROIDS, "score")


def codec_cases(data: Data, threads: int) -> Iterator[Case]:
    """Compression, and the way back."""
    some, centroids = data.embeddings[:1000], data.centroids
    nearest = partial(kernels.assign, some, centroids, threads=threads)
    yield Case("assign", nearest, len(some), "token", centroids.size)
    run = partial(compressed, data, threads=threads)
    yield Case(f"compress {BITS} bits", run, data.n_tokens, "token")
    arrays = (data.codes, *compressed(data), centroids, *data.codebook)
    back = partial(kernels.decompress, *arrays, threads=threads)
    yield Case(f"decompress {BITS} bits", back, data.n_tokens, "token")


def compressed(data: Data, *, threads: int = 0) -> tuple[Array, Array]:
    """Residuals and inverse norms."""
    arrays = (data.embeddings, data.centroids, data.codes, data.cutoffs)
    return kernels.compress(*arrays, *data.codebook, threads=threads)


def coded_segment(data: Data) -> tuple[kernels.CodedSegment, float]:
    """The embeddings as a segment, and how many passages an inverted list has on average."""
    owners = np.arange(data.n_tokens) // TOKENS_PER_PASSAGE
    pairs = np.unique(data.codes.astype(np.int64) * N_PASSAGES + owners)
    lengths = np.bincount(pairs // N_PASSAGES, minlength=N_CENTROIDS)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    lists = (None, starts, (pairs % N_PASSAGES).astype(np.uint32))
    arrays = (data.codes, *compressed(data), *lists, data.offsets, N_CENTROIDS)
    return kernels.coded_segment(*arrays), float(lengths.mean())


def byte_search_cases(data: Data, threads: int) -> Iterator[Case]:
    """The stages of the search in bytes, each as what it adds to the ones before.

    Stages that take little time run on `copies` of the segment.
    """
    codec = kernels.search_codec(data.centroids, *data.codebook)
    if codec is None:
        return
    segment, list_length = coded_segment(data)
    macs, copies = data.per_token, 20

    def search(nprobe: int, kept: tuple[int, int, int], times: int = 1) -> Any:
        limits = dict(zip(("n_candidates", "n_rescored", "n_exact"), kept, strict=True))
        given = (data.query, [segment] * times, [None] * times)
        return partial(codec.search, *given, nprobe=nprobe, threads=threads, **limits)

    one, every = (1, 1, 0), (N_PASSAGES, N_PASSAGES, 0)
    first, floor = search(1, one), macs / BYTES_PER_NANOSECOND
    yield Case("bytes: scores, probes", first, N_CENTROIDS, "centroid", macs, None, floor)
    few, many = search(1, one, copies), search(33, one, copies)
    postings = int(copies * 32 * N_QUERIES * list_length)
    yield Case("bytes: accumulation", many, postings, "posting", 0, few)
    kept = (copies * N_PASSAGES, 1, 0)
    tokens = copies * data.n_tokens
    yield Case("bytes: interaction", search(1, kept, copies), tokens, "token", 0, few, GATHERED_ROW)
    run = search(1, every)
    yield Case(f"bytes: maxsim {BITS} bits", run, data.n_tokens, "token", macs, first, floor)
    again, floor = search(1, (N_PASSAGES,) * 3), macs / FLOATS_PER_NANOSECOND
    yield Case("  in float32", again, data.n_tokens, "token", macs, run, floor)


def checksum_cases() -> Iterator[Case]:
    """Checksums, of 16 MiB."""
    buffer = np.random.default_rng(0).integers(0, 256, 1 << 24).astype(np.uint8)
    yield Case("crc32c", partial(kernels.crc32c, buffer), buffer.size // 1024, "KiB")


def make_cases(dim: int, threads: int) -> list[Case]:
    """Every family on arrays of the size of a small collection."""
    data = make_data(dim)
    return [
        *centroid_cases(data, threads),
        *maxsim_cases(data, threads),
        *byte_search_cases(data, threads),
        *codec_cases(data, threads),
        *checksum_cases(),
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
    print(f"{'':24}{'per':>9}{heads}{'floor ns':>10}")
    for case in make_cases(given.dim, given.threads):
        row = f"{case.name:24}{case.unit:>9}"
        for name in targets:
            with kernels.use_target(name):
                seconds = case.seconds()
            rate = f"{case.units * case.macs / seconds / 1e9:.1f}" if case.macs else ""
            row += f"{seconds / case.units * 1e9:>14.1f}{rate:>9}"
        print(row + (f"{case.floor:>10.1f}" if case.floor else ""))


if __name__ == "__main__":
    main()
