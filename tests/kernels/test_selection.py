"""Choosing: top k, top centroids, candidates, on every target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft import kernels

TARGETS = kernels.targets()
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def best(scores: np.ndarray, k: int) -> list[int]:
    """A sort by falling score, then by rising index."""
    return sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))[:k]


def crowded(seed: int, *shape: int) -> np.ndarray:
    """Scores with many ties, both zeros and both infinities."""
    values = np.array([-np.inf, -2, -0.0, 0.0, 1e-40, 1, 3, np.inf], dtype=np.float32)
    return np.random.default_rng(seed).choice(values, shape).astype(np.float32)


@pytest.mark.parametrize("target", TARGETS)
@few
@given(seed=seeds, n=st.integers(0, 200), k=st.integers(0, 250), ties=st.booleans())
def test_topk(target: str, seed: int, n: int, k: int, ties: bool) -> None:
    scores = crowded(seed, n) if ties else np.random.default_rng(seed).normal(size=n).astype("f4")
    with kernels.use_target(target):
        got = kernels.topk(scores, k)
    assert got.dtype == np.uint32
    assert got.tolist() == best(scores, k)


@pytest.mark.parametrize("target", TARGETS)
@few
@given(
    seed=seeds,
    n_centroids=st.integers(0, 90),
    nq=st.integers(1, 40),
    nprobe=st.integers(0, 100),
    ties=st.booleans(),
)
def test_top_centroids(
    target: str, seed: int, n_centroids: int, nq: int, nprobe: int, ties: bool
) -> None:
    generator = np.random.default_rng(seed)
    shape = (n_centroids, nq)
    scores = crowded(seed, *shape) if ties else generator.normal(size=shape).astype(np.float32)
    with kernels.use_target(target):
        got = kernels.top_centroids(scores, nprobe)
    assert got.shape == (nq, min(nprobe, n_centroids))
    assert got.tolist() == [best(column, nprobe) for column in scores.T]


@pytest.mark.parametrize("place", [0, 3, 99])
def test_nan_is_refused_wherever_it_is(target: str, place: int) -> None:
    scores = np.zeros(100, dtype=np.float32)
    scores[place] = np.nan
    for k in (0, 1, 100):
        with pytest.raises(ValueError, match="scores"):
            kernels.topk(scores, k)
        with pytest.raises(ValueError, match="scores"):
            kernels.top_centroids(scores.reshape(20, 5), k)


@pytest.mark.parametrize("target", TARGETS)
@few
@given(
    lists=st.lists(st.lists(st.integers(0, 199), max_size=12), max_size=20),
    probes=st.lists(st.integers(0, 25), max_size=8),
    sparse=st.booleans(),
    allowed=st.one_of(st.none(), seeds),
)
def test_candidates(
    target: str,
    lists: list[list[int]],
    probes: list[int],
    sparse: bool,
    allowed: int | None,
) -> None:
    probes = probes if sparse else [probe for probe in probes if probe < len(lists)]
    kept = [number for number, pids in enumerate(lists) if pids or not sparse]
    offsets = np.cumsum([0, *(len(lists[number]) for number in kept)]).astype(np.int64)
    pids = np.array([pid for number in kept for pid in lists[number]], dtype=np.uint32)
    mask = None if allowed is None else np.random.default_rng(allowed).integers(0, 2, 200) > 0
    expected = {pid for probe in set(probes) if probe < len(lists) for pid in lists[probe]}
    if mask is not None:
        expected = {pid for pid in expected if mask[pid]}
    numbers = np.array(kept, dtype=np.uint32) if sparse else None
    with kernels.use_target(target):
        found = kernels.candidates(
            np.array(probes, dtype=np.uint32), numbers, offsets, pids, 200, allowed=mask
        )
    assert found.dtype == np.uint32
    assert found.tolist() == sorted(expected)
