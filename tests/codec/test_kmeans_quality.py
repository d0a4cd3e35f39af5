"""Centroids serve tokens as well as those that faiss finds in as many rounds over the same rows."""

import numpy as np
import pytest

from weft.engine.codec.cells import EXHAUSTIVE_BELOW, assign
from weft.engine.codec.kmeans import train_centroids
from weft.engine.codec.training import TRAINING_ITERATIONS

DIM = 32
WORDS = 20_000
PER_PASSAGE = 80


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def tokens(n, seed):
    """As an encoder makes them: words of uneven frequency, each moved by its passage and place.

    Variances fall along the dimensions, as those of MiniLM's vectors do.
    """
    random = np.random.default_rng(seed)
    scale = np.arange(1, DIM + 1) ** -0.35
    frequency = 1 / np.arange(1, WORDS + 1)
    words = random.choice(WORDS, size=n, p=frequency / frequency.sum())
    word, passage, place = (
        unit(random.normal(size=(size, DIM)) * scale) for size in (WORDS, n // PER_PASSAGE + 1, n)
    )
    rows = unit(word[words] + 0.6 * passage[np.arange(n) // PER_PASSAGE] + 0.6 * place)
    return rows[random.permutation(n)]


def faiss_centroids(sample, k, seed):
    import faiss

    settings = {"min_points_per_centroid": 1, "max_points_per_centroid": len(sample)}
    model = faiss.Kmeans(DIM, k, niter=TRAINING_ITERATIONS, seed=seed, spherical=True, **settings)
    model.train(sample)
    return unit(np.asarray(model.centroids))


def served(rows, centroids, cells=None):
    """Mean cosine of tokens to their centroid."""
    codes, _ = assign(rows, centroids, cells)
    return np.einsum("ij,ij->i", rows.astype(np.float64), unit(centroids)[codes]).mean()


@pytest.mark.parametrize("k", [500, 2100])
def test_tokens_are_served_as_well_as_by_faiss(k):
    """Those that centroids were not trained on, through cells where a codec has them."""
    rows = tokens(16 * k + 8000, seed=k)
    sample, others = rows[: 16 * k], rows[16 * k :]
    centroids, cells = train_centroids(sample, k, iterations=TRAINING_ITERATIONS, seed=0)
    assert (cells is None) == (k <= EXHAUSTIVE_BELOW)
    expected = served(others, faiss_centroids(sample, k, seed=0))
    got = served(others, centroids, cells)
    assert got >= expected - 0.005
