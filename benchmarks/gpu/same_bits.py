"""The GPU against the device on the host: the same bodies, so the same bits.

    python same_bits.py [--small] [--dry-run]

Both are compiled without contraction of multiplications and additions, and both add up in the same
order. With --small a search and a build so small that compute-sanitizer is done in a minute.
With --dry-run the emulation stands for the GPU.
"""

from __future__ import annotations

import importlib
import sys

import numpy as np
from devices import OnDevice, clustered

from weft import kernels
from weft.kernels import cuda_device

LIMITS = {"nprobe": 8, "n_candidates": 200, "n_rescored": 60, "n_exact": 10}


def answers(collection, queries, rows):
    """Everything that a device computes of a small index, as arrays."""
    found = []
    for place in ("device", "host"):
        device = OnDevice(collection, place)
        for one in device.search_batch(list(queries), **LIMITS):
            found += one
        mask = [np.arange(collection.segments[0].n_passages) % 3 > 0]
        found += device.search(queries[0], mask, **LIMITS)
    builder = kernels.device_builder(collection.centroids)
    codes, scores = builder.assign(rows)
    builder.refine(rows, 2)
    return [*found, codes, scores, builder.centroids()]


def main() -> int:
    """Read what is asked, and compare."""
    small = "--small" in sys.argv
    if "--dry-run" in sys.argv:
        emulated = importlib.import_module("weft.kernels._cuda_emulated")
        with cuda_device.use_cuda_module(emulated):
            return compare(small)
    return compare(small)


def compare(small: bool) -> int:
    """Compare; 1 where bits differ."""
    sizes = (
        [(300, 128, 64, 2)] if small else [(2000, 600, 128, 2), (500, 300, 96, 4), (90, 50, 7, 1)]
    )
    wrong = 0
    for n_passages, n_centroids, dim, bits in sizes:
        generator = np.random.default_rng(n_passages)
        collection, queries = clustered(generator, n_passages, n_centroids, dim, bits)
        queries = queries[: 2 if small else 20]
        rows = np.concatenate(queries)
        ours = answers(collection, queries, rows)
        if small:
            continue
        emulated = importlib.import_module("weft.kernels._cuda_emulated")
        with cuda_device.use_cuda_module(emulated):
            theirs = answers(collection, queries, rows)
        same = [np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)]
        print(f"dim {dim}, {bits} bits: {sum(same)} of {len(same)} arrays have the same bits")
        wrong += len(same) - sum(same)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
