"""What `weft.kernels.search_codec` must find, from its definition, in float64.

Nothing here rounds to bytes: the bounds say how far rounding may carry a score, from the steps
of what is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weft import kernels

QUERY_LEVELS = {"baseline": 127, "avx2": 63, "avx512": 127, "amx": 127}
SAMPLE = 512
"""Centroids, evenly spaced, over which mean and deviation of a query vector's scores are taken."""

EPSILON = 2.0**-23


@dataclass
class Segment:
    """A segment's arrays, and the vectors that they stand for.

    Args:
        codes, residuals, inverse_norms: as `coded_segment` takes them.
        buckets: uint8 [n, dim], what is packed in `residuals`.
        offsets: int64 [P + 1].
        n_centroids: that the segment was made with.
        ivf_centroids: None where there is a list per centroid.
    """

    codes: Any
    residuals: Any
    inverse_norms: Any
    buckets: Any
    offsets: Any
    n_centroids: int
    ivf_centroids: Any
    ivf_offsets: Any
    ivf_pids: Any

    @property
    def n_passages(self) -> int:
        return len(self.offsets) - 1

    def arrays(self) -> list[Any]:
        """In the order of `coded_segment`."""
        lists = [self.ivf_centroids, self.ivf_offsets, self.ivf_pids]
        tokens = [self.codes, self.residuals, self.inverse_norms]
        return [*tokens, *lists, self.offsets, self.n_centroids]

    def native(self, **keywords: Any) -> Any:
        return kernels.coded_segment(*self.arrays(), **keywords)

    def passages_of(self, centroids: Any) -> set[int]:
        """The union of the lists of some centroids, from the codes."""
        held = np.isin(self.codes, list(centroids))
        owners = np.repeat(np.arange(self.n_passages), np.diff(self.offsets))
        return set(owners[held].tolist())


@dataclass
class Collection:
    """A codec and the segments made with it.

    Args:
        centroids: float32 [K, dim].
        weights: float32 [2^bits].
        norm_range: of the inverse norms.
    """

    centroids: Any
    weights: Any
    norm_range: tuple[float, float]
    segments: list[Segment] = field(default_factory=list)

    def codec(self) -> Any:
        codec = kernels.search_codec(self.centroids, self.weights, self.norm_range)
        assert codec is not None
        return codec

    def search(
        self, query: Any, allowed: Sequence[Any] | None = None, **limits: Any
    ) -> tuple[Any, Any, Any, Any]:
        """Search all segments; what is not limited reaches every passage that lists can find.

        A collection must have more passages than that, or lists are not looked into.
        """
        lengths = [np.diff(segment.offsets) for segment in self.segments]
        n = max(int((np.concatenate(lengths) > 0).sum()), 1)
        whole = {"nprobe": len(self.centroids), "n_candidates": n, "n_rescored": n, "n_exact": 0}
        masks = list(allowed) if allowed is not None else [None] * len(self.segments)
        native = [segment.native() for segment in self.segments]
        found: tuple[Any, Any, Any, Any] = self.codec().search(
            query, native, masks, **(whole | limits)
        )
        return found


def pack(buckets: Any, bits: int) -> Any:
    """Bucket numbers, lowest bits first: [n, dim] to [n, ceil(dim * bits / 8)]."""
    ones = (buckets[:, :, None] >> np.arange(bits, dtype=np.uint8)) & 1
    rows = ones.reshape(len(buckets), buckets.shape[1] * bits)
    return np.packbits(rows, axis=1, bitorder="little")


def inverted_lists(codes: Any, offsets: Any, n_centroids: int, dense: bool) -> tuple[Any, ...]:
    """Centroid numbers or None, offsets and pids of the inverted lists."""
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    pairs = np.unique(np.stack([codes.astype(np.int64), owners], axis=1), axis=0)
    numbers, counts = np.unique(pairs[:, 0], return_counts=True)
    if dense:
        counts = np.bincount(pairs[:, 0], minlength=n_centroids)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return None if dense else numbers.astype(np.uint32), starts, pairs[:, 1].astype(np.uint32)


def make_segment(
    generator: np.random.Generator,
    collection: Collection,
    lengths: Sequence[int],
    *,
    n_centroids: int | None = None,
    dtype: Any = np.uint16,
    dense: bool = True,
    codes: Any = None,
) -> Segment:
    """Random tokens, of unit length as far as a byte can say."""
    bits = len(collection.weights).bit_length() - 1
    n_centroids = n_centroids or len(collection.centroids)
    n = int(np.sum(lengths))
    if codes is None:
        codes = generator.integers(0, n_centroids, n)
    codes = np.asarray(codes).astype(dtype)
    dim = collection.centroids.shape[1]
    buckets = generator.integers(0, 1 << bits, (n, dim)).astype(np.uint8)
    rows = collection.centroids[codes].astype(np.float64) + collection.weights[buckets]
    norms = np.linalg.norm(rows, axis=1)
    low, high = collection.norm_range
    places = (1 / np.maximum(norms, 1e-300) - low) / max(high - low, 1e-300) * 255
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Segment(
        codes,
        pack(buckets, bits),
        np.clip(np.rint(places), 0, 255).astype(np.uint8),
        buckets,
        offsets,
        n_centroids,
        *inverted_lists(codes, offsets, n_centroids, dense),
    )


def make_collection(
    generator: np.random.Generator,
    n_centroids: int,
    dim: int,
    bits: int,
    *,
    scale: float = 1.0,
    constant: bool = False,
) -> Collection:
    """Centroids of length about `scale`, weights that add a third of it.

    Args:
        constant: all components of a centroid are the same.
    """
    centroids = generator.normal(size=(n_centroids, 1 if constant else dim))
    centroids = np.repeat(centroids, dim, axis=1) if constant else centroids
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-6)
    levels = np.sort(generator.normal(size=1 << bits))
    weights = levels / np.abs(levels).max() * 0.6 / np.sqrt(dim)
    return Collection(
        (centroids * scale).astype(np.float32),
        (weights * scale).astype(np.float32),
        (0.4 / scale, 2.2 / scale),
    )


@dataclass
class Bounds:
    """How far rounding may carry a dot product: at worst, and as a rule.

    At worst each component is off by half a step. As a rule these add up like independent uniform
    errors do; six standard deviations of that are allowed.
    """

    worst: Any
    variance: Any

    def allowed(self) -> Any:
        return np.minimum(self.worst, 6 * np.sqrt(self.variance))


@dataclass
class Oracle:
    """Scores of a query in float64, and how far bytes may stray from them.

    Args:
        levels: query vectors are rounded to so many steps on each side of zero.
    """

    collection: Collection
    query: Any
    levels: int

    def __post_init__(self) -> None:
        centroids = self.collection.centroids.astype(np.float64)
        query = self.query.astype(np.float64)
        n = len(centroids)
        sample = np.arange(min(n, SAMPLE)) * n // min(n, SAMPLE)
        self.scores = centroids @ query.T  # [K, nq]
        self.lowest = self.scores[sample].mean(axis=0) - 2 * self.scores[sample].std(axis=0)
        highest = np.linalg.norm(query, axis=1) * np.linalg.norm(centroids, axis=1).max()
        self.step = float((highest - self.lowest).max()) / 255
        self.clipped = np.maximum(self.scores, self.lowest)
        steps = (centroids.max(axis=1) - centroids.min(axis=1)) / 255
        bounds = self._rounding(centroids, steps)
        # The lowest is off too: a mean by no more than the worst, two deviations by twice that.
        off = 3 * bounds.worst[sample].max(axis=0)
        low = self.scores < self.lowest + off + bounds.worst
        worst = np.where(low, np.maximum(bounds.worst, off), bounds.worst)
        off = bounds.variance[sample].max(axis=0)
        variance = np.where(low, np.maximum(bounds.variance, off), bounds.variance)
        self.bounds = Bounds(worst + self.step / 2, variance + self.step**2 / 12)
        weights = self.collection.weights.astype(np.float64)
        self.weight_step = float(weights.max() - weights.min()) / 255
        largest = np.abs(centroids).max() + np.abs(weights).max()
        self.float_error = 64 * EPSILON * np.abs(query).sum(axis=1) * largest + 1e-37

    def _rounding(self, rows: Any, steps: Any) -> Bounds:
        """Of the products of rows with the query's vectors, with steps of their own each."""
        query = np.abs(self.query.astype(np.float64))
        query_steps = query.max(axis=1) / self.levels
        steps = np.broadcast_to(steps, (len(rows),))[:, None]
        both = rows.shape[1] * (steps * query_steps) ** 2
        lengths = np.abs(rows).sum(axis=1)[:, None]
        worst = steps * query.sum(axis=1) / 2 + lengths * query_steps / 2
        worst += rows.shape[1] * steps * query_steps / 4
        squares = steps**2 * (query**2).sum(axis=1)
        squares = squares + (rows**2).sum(axis=1)[:, None] * query_steps**2
        return Bounds(worst, (squares + both / 12) / 12)

    def probes(self, nprobe: int) -> tuple[list[set[int]], list[set[int]]]:
        """For each query vector the centroids that must be probed, and those that may be."""
        allowed = self.bounds.allowed() + self.float_error
        low, high = self.clipped - allowed, self.clipped + allowed
        n = len(self.scores)
        nprobe = min(nprobe, n)
        must, may = [], []
        for j in range(len(self.query)):
            # As good as certain: fewer than nprobe others can come before it.
            rivals = n - np.searchsorted(np.sort(high[:, j]), low[:, j], side="left")
            must.append(set(np.flatnonzero(rivals <= nprobe).tolist()))
            worst_chosen = np.sort(low[:, j])[n - nprobe]
            may.append(set(np.flatnonzero(high[:, j] >= worst_chosen).tolist()))
        return must, may

    def passages(self, number: int) -> tuple[Any, Any, Any]:
        """Of each passage of a segment.

        Returns:
            float64 [P] MaxSim on reconstructed vectors; the same where no centroid scores below
            a query vector's lowest, as in bytes; how far the latter may be off in bytes.
        """
        segment = self.collection.segments[number]
        results = [self._passage(segment, pid) for pid in range(segment.n_passages)]
        exact, clipped, bounds = np.array(results, dtype=np.float64).reshape(-1, 3).T
        return exact, clipped, bounds

    def _passage(self, segment: Segment, pid: int) -> tuple[float, float, float]:
        rows = slice(int(segment.offsets[pid]), int(segment.offsets[pid + 1]))
        if rows.start == rows.stop:
            return -np.inf, -np.inf, 0.0
        codes = segment.codes[rows].astype(np.int64)
        low, high = self.collection.norm_range
        norms = (low + segment.inverse_norms[rows] * ((high - low) / 255))[:, None]
        residuals = self.collection.weights[segment.buckets[rows]].astype(np.float64)
        products = residuals @ self.query.astype(np.float64).T
        exact = ((self.scores[codes] + products) * norms).max(axis=0).sum()
        clipped = ((self.clipped[codes] + products) * norms).max(axis=0).sum()
        rounding = self._rounding(residuals, self.weight_step)
        worst = ((self.bounds.worst[codes] + rounding.worst) * norms).max(axis=0).sum()
        deviation = np.sqrt(self.bounds.variance[codes] + rounding.variance) * norms
        deviation = deviation.max(axis=0)
        # A maximum prefers what rounding raised: a deviation for each query vector.
        rule = deviation.sum() + 6 * np.sqrt((deviation**2).sum())
        total = min(worst, rule) + self.float_error.sum() * norms.max()
        return float(exact), float(clipped), float(total)
