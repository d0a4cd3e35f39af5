"""Accumulation in blocks and on threads: the same answer, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from coded_oracle import Collection, Segment, inverted_lists, make_collection, make_segment


@pytest.fixture(scope="module")
def blocks() -> tuple[Collection, Collection]:
    """40,000 passages in one segment, several blocks for accumulation; and in parts of one each."""
    generator = np.random.default_rng(11)
    whole = make_collection(generator, 300, 32, 4)
    lengths = generator.integers(0, 6, 40_000)
    segment = make_segment(generator, whole, lengths)
    whole.segments.append(segment)
    parts = Collection(whole.centroids, whole.weights, whole.norm_range)
    for first in range(0, 40_000, 8_000):
        rows = slice(*segment.offsets[[first, first + 8_000]])
        codes, offsets = segment.codes[rows], segment.offsets[first : first + 8_001] - rows.start
        arrays = (codes, segment.residuals[rows], segment.inverse_norms[rows])
        lists = inverted_lists(codes, offsets, 300, True)
        parts.segments.append(Segment(*arrays, segment.buckets[rows], offsets, 300, *lists))
    return whole, parts


@pytest.mark.parametrize("nq", [32, 257])
def test_blocks_and_threads_change_nothing(
    target: str, blocks: tuple[Collection, Collection], nq: int
) -> None:
    whole, parts = blocks
    query = np.random.default_rng(nq).normal(size=(nq, 32)).astype(np.float32)
    limits = {"nprobe": 40, "n_candidates": 3000, "n_rescored": 500}
    segments, pids, scores, _ = parts.search(query, **limits, threads=1)
    for threads in (1, 2, 3, 8):
        found = whole.search(query, **limits, threads=threads)
        np.testing.assert_array_equal(found[1], pids + 8_000 * segments)
        np.testing.assert_array_equal(found[2], scores)
