"""Training: sizes, quantiles, held-out ranges, tiny and degenerate samples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rotations import turned

from weft.engine.codec import n_centroids, sample_passages, train_codec
from weft.engine.codec.buckets import inverse_norm_range, train_buckets
from weft.engine.codec.kmeans import (
    build_cells,
    proportional_shares,
    spherical_kmeans,
    train_centroids,
)
from weft.engine.errors import InvalidEmbeddingError, InvalidParameterError


def unit(n, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


# Weights above zero of the least squares quantiser of a normal distribution (Max 1960, table I).
NORMAL = {1: [0.7979], 2: [0.4528, 1.510], 4: [0.1284, 0.3881, 0.6568, 0.9424, 1.256,
                                                         1.618, 2.069, 2.733]}  # fmt: skip


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_buckets_of_a_normal_distribution_are_the_published_ones(bits):
    residuals = np.random.default_rng(bits).normal(size=(20_000, 50)).astype(np.float32)
    cutoffs, weights = train_buckets(residuals, bits)
    above = np.array(NORMAL[bits])
    np.testing.assert_allclose(weights, [*-above[::-1], *above], atol=0.03)
    np.testing.assert_allclose(cutoffs, (weights[1:] + weights[:-1]) / 2, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_each_weight_is_the_mean_of_its_bucket_and_cutoffs_lie_in_the_middle(bits):
    residuals = np.random.default_rng(bits).laplace(size=(700, 12)).astype(np.float32)
    cutoffs, weights = train_buckets(residuals, bits)
    assert cutoffs.shape == ((1 << bits) - 1,) and weights.shape == (1 << bits,)
    values = residuals.ravel().astype(np.float64)
    buckets = np.abs(values[:, None] - weights.astype(np.float64)).argmin(axis=1)
    means = [values[buckets == i].mean() for i in range(1 << bits) if (buckets == i).any()]
    filled = np.unique(buckets)
    np.testing.assert_allclose(weights[filled], means, atol=0.02 * np.abs(values).max() / 2**bits)
    np.testing.assert_allclose(cutoffs, (weights[1:] + weights[:-1]) / 2, atol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_buckets_lose_no_more_than_equally_frequent_ones(bits):
    residuals = np.random.default_rng(3).standard_t(4, size=(400, 40)).astype(np.float32)
    _, weights = train_buckets(residuals, bits)
    equal = np.quantile(residuals, (np.arange(1 << bits) + 0.5) / (1 << bits))

    def error(levels):
        return (np.abs(residuals.reshape(-1, 1) - levels).min(axis=1) ** 2).mean()

    assert error(weights) <= error(equal)


@pytest.mark.parametrize("values", [[0.0], [0.25, 0.25, 0.25], [-1.0, 1.0], [1e-30, 2e-30]])
def test_buckets_of_degenerate_residuals_are_finite_and_ordered(values):
    residuals = np.array([values], dtype=np.float32)
    for bits in (1, 2, 4, 8):
        cutoffs, weights = train_buckets(residuals, bits)
        assert np.isfinite(weights).all() and (np.diff(weights) >= 0).all()
        assert (np.diff(cutoffs) >= 0).all()


def test_inverse_norm_range_is_widened_by_half_on_each_side():
    np.testing.assert_allclose(inverse_norm_range(np.array([1.0, 1.4, 1.2])), [0.8, 1.6])
    # A narrow sample still leaves room for other vectors, and the low end stays positive.
    low, high = inverse_norm_range(np.array([1.0, 1.0]))
    assert low <= 0.95 and high >= 1.05
    assert inverse_norm_range(np.array([0.1, 9.0]))[0] > 0


@given(st.integers(1, 10**12))
def test_number_of_centroids_is_the_power_of_two_below(n):
    k = n_centroids(n)
    assert k & (k - 1) == 0
    assert k * k <= 256 * n < 4 * k * k


@given(st.integers(0, 10**9))
def test_sample_is_the_papers_and_never_more_than_there_is(n):
    assert sample_passages(n) == min(n, 1 + int(16 * math.sqrt(120 * n)))


def test_sample_of_large_passages_stays_within_its_memory():
    assert sample_passages(10**7, passage_bytes=1 << 20) == 1024
    assert sample_passages(10, passage_bytes=1e12) == 1


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any), st.data())
def test_shares_are_proportional(counts, data):
    counts = np.array(counts)
    total = data.draw(st.integers(0, int(counts.sum())))
    shares = proportional_shares(counts, total)
    assert shares.sum() == total
    assert (shares <= counts).all()
    assert (np.abs(shares - counts * total / counts.sum()) < 1 + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    dim=st.integers(1, 9),
    bits=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 99),
    k=st.one_of(st.none(), st.integers(1, 60)),
)
def test_tiny_samples_train(n, dim, bits, seed, k):
    sample = unit(n, dim, seed)
    codec, report = train_codec(sample, n_embeddings=n, bits=bits, n_centroids=k)
    assert 1 <= codec.n_centroids <= n
    assert report.n_centroids == codec.n_centroids
    rebuilt = codec.decompress(*packed(codec, sample))
    assert np.isfinite(rebuilt).all()


def packed(codec, rows):
    parts = codec.compress(rows)
    return parts.codes, parts.residuals, parts.inverse_norms


@pytest.mark.parametrize("n", [1, 2, 50, 3000])
def test_all_equal_vectors_come_back(n):
    sample = np.repeat(unit(1, 12), n, axis=0)
    codec, _ = train_codec(sample, n_embeddings=n, bits=2)
    rebuilt = codec.decompress(*packed(codec, sample))
    np.testing.assert_allclose(rebuilt, sample, atol=2e-3)


def test_duplicates_leave_distinct_centroids():
    sample = np.repeat(unit(7, 12), 100, axis=0)
    codec, _ = train_codec(sample, n_embeddings=700, bits=2, n_centroids=64)
    assert len(np.unique(codec.centroids, axis=0)) == codec.n_centroids
    nearest = (turned(codec.rotation, sample) @ codec.centroids.T).max(axis=1)
    np.testing.assert_allclose(nearest, 1, atol=1e-3)


@pytest.fixture(scope="module")
def split_sample():
    """More distinct directions than cells can be split evenly into, and many duplicates."""
    rows = unit(3500, 8, seed=1)
    return np.concatenate([rows, np.repeat(rows[:20], 200, axis=0)])


def test_two_levels_give_as_many_centroids_as_asked(split_sample):
    centroids, cells = train_centroids(split_sample, 2500, iterations=3, seed=0)
    assert 2300 < len(centroids) <= 2500
    assert len(np.unique(centroids, axis=0)) == len(centroids)
    np.testing.assert_array_equal(centroids, centroids.astype(np.float16))
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=2e-3)
    assert cells.offsets[0] == 0 and cells.offsets[-1] == len(centroids)
    assert (np.diff(cells.offsets) > 0).all()


def test_two_levels_serve_the_sample_nearly_as_well_as_one(split_sample):
    split, _ = train_centroids(split_sample, 2500, iterations=3, seed=0)
    whole = spherical_kmeans(split_sample, 2500, iterations=3, seed=0)
    served = [(split_sample @ c.T).max(axis=1).mean() for c in (split, whole)]
    assert served[0] > served[1] - 0.005


def test_centroids_lie_in_the_cell_that_is_nearest():
    centroids = unit(400, 8, seed=2)
    ordered, cells = build_cells(centroids, seed=0)
    assert sorted(map(tuple, ordered)) == sorted(map(tuple, centroids))
    home = np.repeat(np.arange(len(cells.centroids)), np.diff(cells.offsets))
    scores = ordered.astype(np.float64) @ cells.centroids.T.astype(np.float64)
    picked = scores[np.arange(400), home]
    np.testing.assert_allclose(picked, scores.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("k", [100, 2500])
def test_equal_seeds_give_equal_codecs(split_sample, k):
    make = [
        train_codec(split_sample, n_embeddings=9, bits=2, n_centroids=k, seed=seed)[0].hash
        for seed in (3, 3, 4)
    ]
    assert make[0] == make[1] != make[2]


def test_centroids_beat_random_ones():
    rng = np.random.default_rng(0)
    topics = unit(50, 16, seed=5)
    rows = topics[rng.integers(50, size=3000)] + 0.2 * unit(3000, 16, seed=6)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    codec, _ = train_codec(rows, n_embeddings=3000, bits=2, n_centroids=50)
    served = (turned(codec.rotation, rows) @ codec.centroids.T).max(axis=1).mean()
    drawn = (rows @ rows[rng.choice(3000, 50, replace=False)].T).max(axis=1).mean()
    assert served > drawn + 0.005


def test_a_sample_beyond_what_centroids_need_is_cut():
    _, report = train_codec(unit(5000, 8), n_embeddings=5000, bits=2, n_centroids=10)
    assert report.n_sample == 320
    assert report.n_heldout == 250


@pytest.mark.parametrize(
    "sample",
    [
        np.empty((0, 4), dtype=np.float32),
        np.ones(4, dtype=np.float32),
        np.ones((3, 0), dtype=np.float32),
        np.array([[1, np.nan]], dtype=np.float32),
        np.array([[1, np.inf]], dtype=np.float32),
    ],
)
def test_unusable_samples_are_refused(sample):
    with pytest.raises(InvalidEmbeddingError):
        train_codec(sample, n_embeddings=3, bits=2)


@pytest.mark.parametrize("wrong", [{"bits": 3}, {"iterations": 0}, {"n_centroids": 0}])
def test_unusable_parameters_are_refused(wrong):
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        train_codec(unit(9, 4), **{"n_embeddings": 9, "bits": 2, **wrong})
