"""MaxSim and its parts on every target, against exact integers and against float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft import kernels
from weft.kernels import reference

TARGETS = kernels.targets()
DIMS = [1, 3, 48, 96, 128, 384, 1000]
QUERIES = [1, 5, 32, 33, 100, 512]
EPSILON = float(np.finfo(np.float32).eps)

few = settings(max_examples=15, deadline=None)
dims = st.one_of(st.integers(1, 70), st.sampled_from(DIMS))
query_sizes = st.one_of(st.integers(1, 70), st.sampled_from([100]))
doclens = st.lists(st.integers(0, 70), max_size=9)
seeds = st.integers(0, 2**32 - 1)


def small_integers(seed: int, *shape: int) -> np.ndarray:
    """Float32 whose dot products have no rounding at all."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def brute_maxsim(query: np.ndarray, passages: list[np.ndarray]) -> np.ndarray:
    """MaxSim in float64."""
    wide = query.astype(np.float64)
    scores = [
        (tokens.astype(np.float64) @ wide.T).max(axis=0).sum() if len(tokens) else -np.inf
        for tokens in passages
    ]
    return np.array(scores)


def cut(rows: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    return [rows[start:end] for start, end in itertools.pairwise(offsets)]


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.int64)


@pytest.mark.parametrize("target", TARGETS)
@few
@given(seed=seeds, n_centroids=st.integers(0, 150), dim=dims, nq=query_sizes)
def test_centroid_scores_of_integers_are_exact(
    target: str, seed: int, n_centroids: int, dim: int, nq: int
) -> None:
    centroids, query = small_integers(seed, n_centroids, dim), small_integers(seed + 1, nq, dim)
    with kernels.use_target(target):
        scores = kernels.centroid_scores(centroids, query)
    assert scores.dtype == np.float32
    assert np.array_equal(scores, centroids.astype(np.int64) @ query.astype(np.int64).T)


@pytest.mark.parametrize("target", TARGETS)
@few
@given(seed=seeds, lengths=doclens, dim=dims, nq=query_sizes, half=st.booleans())
def test_maxsim_of_integers_is_exact(
    target: str, seed: int, lengths: list[int], dim: int, nq: int, half: bool
) -> None:
    offsets = offsets_of(lengths)
    embeddings = small_integers(seed, int(offsets[-1]), dim)
    query = small_integers(seed + 1, nq, dim)
    pids = np.random.default_rng(seed).integers(0, max(len(lengths), 1), 5).astype(np.uint32)
    pids = pids if lengths else pids[:0]
    expected = brute_maxsim(query, cut(embeddings, offsets))
    stored = embeddings.astype(np.float16) if half else embeddings
    with kernels.use_target(target):
        assert np.array_equal(kernels.maxsim(query, stored, offsets), expected)
        assert np.array_equal(kernels.maxsim(query, stored, offsets, pids=pids), expected[pids])


@pytest.mark.parametrize("nq", QUERIES)
@pytest.mark.parametrize("dim", DIMS)
def test_dot_products_stay_within_their_bound(target: str, dim: int, nq: int) -> None:
    """Added in order, a dot product of unit vectors is off by dim units in the last place."""
    generator = np.random.default_rng(dim * nq)
    rows = [generator.normal(size=(n, dim)).astype(np.float32) for n in (77, nq)]
    embeddings, query = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in rows)
    exact = embeddings.astype(np.float64) @ query.astype(np.float64).T
    scores = kernels.centroid_scores(embeddings, query)
    assert np.abs(scores - exact).max() <= (dim + 2) * EPSILON
    offsets = np.array([0, 1, 1, 40, 77])
    expected = brute_maxsim(query, cut(embeddings, offsets))
    got = kernels.maxsim(query, embeddings, offsets)
    assert got[1] == -np.inf
    finite = [0, 2, 3]
    assert np.abs(got[finite] - expected[finite]).max() <= (dim + 4) * EPSILON * nq


@pytest.mark.parametrize("target", TARGETS)
@few
@given(
    seed=seeds,
    lengths=doclens,
    n_centroids=st.integers(1, 40),
    nq=query_sizes,
    threshold=st.one_of(st.none(), st.integers(-9, 9)),
    narrow=st.booleans(),
)
def test_centroid_interaction_is_exact(
    target: str,
    seed: int,
    lengths: list[int],
    n_centroids: int,
    nq: int,
    threshold: int | None,
    narrow: bool,
) -> None:
    generator = np.random.default_rng(seed)
    scores = small_integers(seed, n_centroids, nq)
    offsets = offsets_of(lengths)
    codes = generator.integers(0, n_centroids, offsets[-1]).astype("u2" if narrow else "u4")
    pids = generator.permutation(len(lengths)).astype(np.uint32)
    expected = []
    for pid in pids:
        tokens = scores[codes[offsets[pid] : offsets[pid + 1]]]
        if threshold is not None:
            tokens = tokens[tokens.max(axis=1, initial=-np.inf) >= threshold]
        expected.append(tokens.max(axis=0, initial=-np.inf).sum())
    with kernels.use_target(target):
        got = kernels.centroid_interaction(scores, codes, offsets, pids, threshold=threshold)
    assert np.array_equal(got, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("target", TARGETS)
@few
@given(
    seed=seeds,
    lengths=doclens,
    dim=dims,
    nq=query_sizes,
    bits=st.sampled_from([1, 2, 4, 8]),
    narrow=st.booleans(),
)
def test_maxsim_residual_of_integers_is_exact(
    target: str, seed: int, lengths: list[int], dim: int, nq: int, bits: int, narrow: bool
) -> None:
    generator = np.random.default_rng(seed)
    offsets = offsets_of(lengths)
    n, n_centroids = int(offsets[-1]), 19
    codes = generator.integers(0, n_centroids, n).astype("u2" if narrow else "u4")
    buckets = generator.integers(0, 1 << bits, (n, dim)).astype(np.uint8)
    weights = small_integers(seed + 1, 1 << bits)
    norms = generator.integers(0, 256, n).astype(np.uint8)
    query, scores = small_integers(seed + 2, nq, dim), small_integers(seed + 3, n_centroids, nq)
    tokens = (scores[codes] + weights[buckets] @ query.T) * norms[:, None].astype(np.float64)
    expected = [part.max(axis=0, initial=-np.inf).sum() for part in cut(tokens, offsets)]
    with kernels.use_target(target):
        got = kernels.maxsim_residual(
            query,
            scores,
            codes,
            reference.pack(buckets, bits),
            norms,
            weights,
            (0.0, 255.0),
            offsets,
        )
    assert np.array_equal(got, np.array(expected).astype(np.float32))


def test_nan_never_is_a_best_match(target: str) -> None:
    query = np.ones((2, 3), dtype=np.float32)
    embeddings = np.ones((4, 3), dtype=np.float32)
    embeddings[1] = np.nan
    embeddings[2] = 2
    embeddings[3] = np.nan
    offsets = np.array([0, 2, 4, 4])
    for stored in (embeddings, embeddings.astype(np.float16)):
        assert kernels.maxsim(query, stored, offsets).tolist() == [6.0, 12.0, -np.inf]
    codes = np.arange(4, dtype=np.uint16)
    pids = np.arange(3, dtype=np.uint32)
    scores = embeddings[:, :2].copy()
    for threshold in (None, -1.0):
        got = kernels.centroid_interaction(scores, codes, offsets, pids, threshold=threshold)
        assert got.tolist() == [2.0, 4.0, -np.inf]


def test_every_half_is_widened_exactly(target: str) -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(-1, 1)
    expected = halves[:, 0].astype(np.float32)
    expected[np.isnan(expected)] = -np.inf
    query = np.ones((1, 1), dtype=np.float32)
    assert np.array_equal(kernels.maxsim(query, halves, np.arange(65537)), expected)


def test_a_score_does_not_depend_on_its_neighbours(target: str) -> None:
    generator = np.random.default_rng(5)
    embeddings = generator.normal(size=(400, 40)).astype(np.float32)
    query = generator.normal(size=(37, 40)).astype(np.float32)
    offsets = np.array([0, 3, 100, 131, 131, 400])
    together = kernels.maxsim(query, embeddings, offsets)
    for p, tokens in enumerate(cut(embeddings, offsets)):
        alone = kernels.maxsim(query, tokens.copy(), np.array([0, len(tokens)]))
        assert alone.tobytes() == together[p : p + 1].tobytes()
    rows = [kernels.centroid_scores(row[None].copy(), query) for row in embeddings[:50]]
    assert (
        np.concatenate(rows).tobytes() == kernels.centroid_scores(embeddings[:50], query).tobytes()
    )


def test_read_only_and_mapped_arrays(target: str, tmp_path) -> None:
    embeddings = small_integers(1, 30, 8)
    path = tmp_path / "embeddings"
    embeddings.tofile(path)
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=(30, 8))
    offsets = np.array([0, 30])
    offsets.flags.writeable = False
    expected = brute_maxsim(embeddings[:3], [embeddings])
    assert np.array_equal(kernels.maxsim(embeddings[:3], mapped, offsets), expected)
