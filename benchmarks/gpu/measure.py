"""Times and recall of the GPU kernels on one made-up index; prints one table.

    python measure.py [--passages 1000000] [--bits 2] [--queries 128] [--dry-run]

Beside each figure stands its floor: the bytes that must move over the bandwidth of a device copy,
and the operations that must be done over the rate of a bfloat16 product of matrices, both measured
here, whichever is larger. Times of a search are of the Python call, launches and copies included;
times of single kernels are the profiler's. --dry-run does it all on the host, with the emulation.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from index import Built, build
from torch_plaid import TorchIndex
from vectors import DIM, TOKENS, make_world, queries

from weft import kernels
from weft.kernels import cuda_device

SETTINGS = {
    10: {"nprobe": 32, "n_candidates": 1024, "n_rescored": 320, "n_exact": 10},
    100: {"nprobe": 32, "n_candidates": 2400, "n_rescored": 800, "n_exact": 10},
}
"""The processor's defaults (docs/parameters.md, effort "balanced") for k = 10 and k = 100."""

Row = tuple[str, str, str, str]


def median_ms(work: Callable[[], Any], repeats: int) -> float:
    """Median wall time of a call that waits for its result, after three to warm up."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def synchronised(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same, waiting for torch's work."""

    def both() -> Any:
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return both


class Ceilings:
    """What the card can do at most, measured: bytes per second, and operations per second."""

    def __init__(self, device: str, dry: bool) -> None:
        n = 1 << (20 if dry else 31)
        source = torch.empty(n, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        ms = median_ms(synchronised(lambda: target.copy_(source)), 10)
        self.bytes_per_second = 2 * n / ms * 1e3
        side = 256 if dry else 8192
        a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
        b = torch.randn(side, side, device=device, dtype=torch.bfloat16)
        ms = median_ms(synchronised(lambda: a @ b), 10)
        self.operations_per_second = 2 * side**3 / ms * 1e3

    def floor_ms(self, n_bytes: float, n_operations: float = 0.0, rate: float = 1.0) -> float:
        """The least time; `rate`: of the operations, against bfloat16 (2 for bytes)."""
        moving = n_bytes / self.bytes_per_second
        return max(moving, n_operations / (self.operations_per_second * rate)) * 1e3


def recall(built: Built, found: list[Any], k: int) -> float:
    """The share of the k best that were found; a score within 1e-4 of the last counts."""
    shares = []
    for number, one in enumerate(found):
        scores = built.scores[number][one[1][:k]]
        shares.append(float((scores >= built.best[number, k - 1] - 1e-4).sum()) / k)
    return statistics.mean(shares)


def kernel_times(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Milliseconds in each kernel per call, from torch's profiler; empty without a GPU."""
    if not torch.cuda.is_available():
        return {}
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(repeats):
            work()
        torch.cuda.synchronize()
    times: dict[str, float] = {}
    for event in profile.key_averages():
        total = getattr(event, "self_device_time_total", 0) or 0
        if total:
            name = event.key.split("run_kernel<weft::device::")[-1].split("(")[0].rstrip(" >")
            times[name] = times.get(name, 0) + total / repeats / 1e3
    return times


def row(name: str, value: float, unit: str, floor: float | None = None) -> Row:
    """A line of the table; a floor has the unit of the value."""
    if floor is None:
        return name, f"{value:,.4g} {unit}", "", ""
    return (
        name,
        f"{value:,.4g} {unit}",
        f"{floor:,.3g} {unit}",
        f"{value / max(floor, 1e-12):.1f} x",
    )


def print_table(rows: list[Row]) -> None:
    """As Markdown."""
    head = ("what", "measured", "floor", "measured / floor")
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(4)]
    for line in [head, tuple("-" * width for width in widths), *rows]:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("| " + " | ".join(cells) + " |")


def search_floors(built: Built, ceilings: Ceilings, limits: dict[str, int]) -> dict[str, float]:
    """Milliseconds that the stages of one query need at least."""
    codes, residuals = built.arrays[:2]
    n_centroids, n_passages = built.arrays[7], len(built.arrays[6]) - 1
    postings = limits["nprobe"] * 32 * len(built.arrays[5]) / n_centroids
    candidates = limits["n_candidates"] * TOKENS
    rescored = limits["n_rescored"] * TOKENS
    product = 2.0 * n_centroids * 32 * DIM
    return {
        "ScoreCentroids": ceilings.floor_ms(n_centroids * (DIM + 32), product, 2),
        "Accumulate": ceilings.floor_ms(postings * (4 + 2 * 32)),
        "CountDigits<0": ceilings.floor_ms(n_passages * 4),
        "CountDigits<1": ceilings.floor_ms(n_passages * 4),
        "CountChosen": ceilings.floor_ms(n_passages * 4),
        "CollectChosen": ceilings.floor_ms(n_passages * 4),
        "Interact": ceilings.floor_ms(candidates * (codes.itemsize + 32)),
        "Rescore": ceilings.floor_ms(
            rescored * (codes.itemsize + 1 + 32 + residuals.shape[1]), 2.0 * rescored * 32 * DIM, 2
        ),
        "Memset": ceilings.floor_ms(n_passages * 36),
    }


class Searching:
    """The same index searched by the GPU, by the processor and by torch."""

    def __init__(self, built: Built, asked: torch.Tensor, ceilings: Ceilings, n_batch: int) -> None:
        self.built, self.asked, self.ceilings = built, asked, ceilings
        self.n_batch = n_batch
        self.queries = [np.ascontiguousarray(query) for query in asked.cpu().numpy()]
        self.codec = kernels.device_codec(*built.codec)
        self.segments = [kernels.device_segment(*built.arrays, residuals_on="device")]
        self.rows: list[Row] = []

    def one(self, query: Any, limits: dict[str, int]) -> Any:
        return self.codec.search(query, self.segments, [None], **limits)

    def singly(self, k: int, repeats: int) -> float:
        limits = SETTINGS[k]
        turn = iter(range(1 << 30))
        ask = lambda: self.one(self.queries[next(turn) % len(self.queries)], limits)  # noqa: E731
        ms = median_ms(ask, repeats)
        floors = search_floors(self.built, self.ceilings, limits)
        self.rows.append(row(f"one query, k = {k}, p50", ms, "ms", sum(floors.values())))
        for name, spent in sorted(kernel_times(ask, 20).items(), key=lambda item: -item[1]):
            floor = next((floors[key] for key in floors if name.startswith(key)), None)
            self.rows.append(row(f"  of it {name[:40]}", spent, "ms", floor))
        return ms

    def in_batches(self, k: int) -> None:
        many = self.queries * max(1, self.n_batch // len(self.queries))
        limits = SETTINGS[k]
        ask = lambda: self.codec.search_batch(many, self.segments, [None], **limits)  # noqa: E731
        seconds = median_ms(ask, 5) / 1e3
        self.rows.append(row(f"batches, k = {k}", len(many) / seconds, "queries/s"))
        with ThreadPoolExecutor(4) as pool:
            start = time.perf_counter()
            list(pool.map(lambda query: self.one(query, limits), many))
            seconds = time.perf_counter() - start
        self.rows.append(row(f"4 callers, k = {k}", len(many) / seconds, "queries/s"))

    def against_processor(self) -> None:
        codec = kernels.search_codec(*self.built.codec)
        segment = kernels.coded_segment(*self.built.arrays)
        assert codec is not None
        for k, limits in SETTINGS.items():
            ours = self.codec.search_batch(self.queries, self.segments, [None], **limits)
            theirs = [codec.search(q, [segment], [None], **limits) for q in self.queries]
            alone = partial(codec.search, self.queries[0], [segment], [None], **limits, threads=1)
            ms = median_ms(alone, 5)
            self.rows.append(row(f"recall@{k}, GPU", recall(self.built, ours, k), ""))
            self.rows.append(row(f"recall@{k}, processor", recall(self.built, theirs, k), ""))
            self.rows.append(row(f"processor, one thread, k = {k}", ms, "ms"))

    def against_torch(self, bits: int, ours_ms: float) -> None:
        plain = torch_index(self.built, bits, self.asked.device)
        limits = {"nprobe": 8, "n_candidates": 1024, "n_rescored": 320}
        found = [plain.search(query, 10, **limits) for query in self.asked]
        ms = median_ms(synchronised(lambda: plain.search(self.asked[0], 10, **limits)), 10)
        theirs = [(None, pids.cpu().numpy()) for pids, _ in found]
        self.rows.append(row("torch, four stages, nprobe 8, k = 10", ms, "ms"))
        self.rows.append(row("recall@10, torch", recall(self.built, theirs, 10), ""))
        self.rows.append(row("torch / GPU", ms / ours_ms, "x"))
        n = len(self.built.arrays[6]) - 1
        parity = {"nprobe": 8, "n_candidates": n - 1, "n_rescored": 320, "n_exact": 320}
        agree = []
        for query, (pids, scores) in zip(self.queries, found, strict=True):
            best = self.one(query, parity)
            ours, tenth = set(best[1][:10].tolist()), float(best[2][9])
            # Torch reconstructs in float16: what it has beyond ours must score like our tenth.
            pairs = zip(pids.tolist(), scores.tolist(), strict=True)
            agree.append(all(pid in ours or score <= tenth + 2e-2 for pid, score in pairs))
        self.rows.append(
            row("parity: torch's ten are ours (fp16 ties)", statistics.mean(agree), "")
        )


def torch_index(built: Built, bits: int, device: torch.device) -> TorchIndex:
    """The same arrays as tensors."""
    centroids, weights, _ = built.codec
    bytes_ = np.arange(256)[:, None] >> (np.arange(8 // bits) * bits) & (2**bits - 1)
    codes, residuals, _, _, offsets, pids = built.arrays[:6]
    return TorchIndex(
        torch.from_numpy(centroids).half().to(device),
        torch.from_numpy(codes.astype(np.int32)).to(device),
        torch.from_numpy(residuals).to(device),
        torch.from_numpy(weights[bytes_]).half().to(device),
        torch.from_numpy(offsets).to(device),
        torch.from_numpy(pids.astype(np.int64)).to(device),
        TOKENS,
    )


def build_rows(built: Built, ceilings: Ceilings, rows: Any) -> list[Row]:
    """What building took, and the kernels of one chunk against their floors."""
    lines = [row(name, seconds, "s") for name, seconds in built.seconds.items()]
    centroids, weights, span = built.codec
    builder = kernels.device_builder(centroids)
    codes, _ = builder.assign(rows)
    cutoffs = (weights[1:] + weights[:-1]) / 2
    n, width = len(rows), built.arrays[1].shape[1]
    operations = 2.0 * n * len(centroids) * DIM
    floors = {
        "Assign": ceilings.floor_ms(n * DIM * 2, operations),
        "Compress": ceilings.floor_ms(n * (DIM * 2 + 4 + width + 1)),
        "ToBfloats": ceilings.floor_ms(n * DIM * 4),
        "ChooseBetter": ceilings.floor_ms(n * (DIM * 2 + 24 + 2 * DIM * 4)),
    }
    times = kernel_times(lambda: builder.assign(rows), 3)
    times |= kernel_times(lambda: builder.compress(rows, codes, cutoffs, weights, span), 3)
    for name, spent in times.items():
        floor = next((floors[key] for key in floors if name.startswith(key)), None)
        lines.append(row(f"{n:,} embeddings: {name[:40]}", spent, "ms", floor))
        if name.startswith("Assign"):
            share = operations / (spent / 1e3) / ceilings.operations_per_second * 100
            lines.append(row("  of the bfloat16 rate", share, "%"))
    return lines


def main() -> None:
    """Make the index, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=2)
    parser.add_argument("--queries", type=int, default=128)
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    dry = arguments.dry_run
    device = "cpu" if dry else "cuda"
    if dry:
        module = importlib.import_module("weft.kernels._cuda_emulated")
        context = cuda_device.use_cuda_module(module)
        context.__enter__()
        torch.backends.mkldnn.enabled = False
    print(f"\n{kernels.cuda_status().reason}; torch {torch.__version__}")
    n_tokens = arguments.passages * TOKENS
    n_centroids = 64 if dry else 1 << int(np.log2(16 * np.sqrt(n_tokens)))
    print(
        f"{arguments.passages:,} passages, {n_tokens:,} embeddings, {n_centroids:,} centroids, "
        f"dim {DIM}, {arguments.bits} bits; vectors as vectors.py says"
    )
    ceilings = Ceilings(device, dry)
    print(
        f"device copy {ceilings.bytes_per_second / 1e12:.2f} TB/s, bfloat16 product "
        f"{ceilings.operations_per_second / 1e12:.0f} TFLOP/s"
    )
    world = make_world(device, max(8, n_centroids // 32))
    asked = queries(world, arguments.queries, 99)
    built = build(world, arguments.passages, n_centroids, arguments.bits, asked)
    searching = Searching(built, asked, ceilings, 8 if dry else 1024)
    ours_ms = searching.singly(10, 5 if dry else 500)
    searching.singly(100, 5 if dry else 500)
    for k in SETTINGS:
        searching.in_batches(k)
    searching.against_processor()
    searching.against_torch(arguments.bits, ours_ms)
    sample = passages_sample(world, 2 if dry else 10_000)
    print()
    print_table([*searching.rows, *build_rows(built, ceilings, sample)])


def passages_sample(world: Any, n: int) -> Any:
    """float16 [n * TOKENS, DIM] on the host."""
    from vectors import passages

    return passages(world, n, 5).reshape(-1, DIM).cpu().numpy()


if __name__ == "__main__":
    main()
