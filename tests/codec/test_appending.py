"""Appended centroids serve what drifted better, and change nothing of what was compressed."""

from dataclasses import replace

import numpy as np
import pytest
from rotations import turned, turned_back

from weft.engine.codec import append_centroids, train_codec
from weft.engine.codec.kmeans import build_cells

DIM = 16


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def domain(seed, n, n_topics=40, noise=0.4):
    """Embeddings around the topics of a domain."""
    topics = unit(np.random.default_rng(seed).normal(size=(n_topics, DIM)))
    rng = np.random.default_rng([seed, n])
    rows = topics[rng.integers(n_topics, size=n)] + noise * rng.normal(size=(n, DIM)) / DIM**0.5
    return unit(rows)


def nearest(codec, rows):
    """Mean cosine to the nearest centroid, from its definition."""
    return float(
        (turned(codec.rotation, rows) @ codec.centroids.T.astype(np.float64)).max(1).mean()
    )


@pytest.fixture(scope="module", params=[1, 4])
def trained(request):
    codec, _ = train_codec(domain(1, 2000), n_embeddings=2000, bits=request.param)
    return codec


def with_cells(codec):
    centroids, cells = build_cells(codec.centroids, seed=0)
    return replace(codec, centroids=centroids, cells=cells)


@pytest.fixture(params=["exhaustive", "cells"])
def codec(trained, request):
    return trained if request.param == "exhaustive" else with_cells(trained)


def appended(codec, rows, **options):
    options = {"n_embeddings": len(rows), "served": 0.85, "at_most": 10**6, **options}
    found = append_centroids(codec, rows, **options)
    assert found is not None
    return found


def test_what_drifted_is_served_better(codec):
    rows, others = domain(2, 3000), domain(2, 1000)
    longer, cosines = appended(codec, rows)
    assert longer.n_centroids > codec.n_centroids
    assert nearest(longer, others) > nearest(codec, others) + 0.2
    assert abs(nearest(longer, others) - cosines.mean()) < 0.05
    assert nearest(longer, domain(1, 1000)) >= nearest(codec, domain(1, 1000))


def test_what_was_compressed_decodes_bit_by_bit_as_before(codec):
    rows = np.concatenate([domain(1, 500), domain(2, 500)])
    packed = codec.compress(rows)
    parts = (packed.codes, packed.residuals, packed.inverse_norms)
    before = codec.decompress(*parts)
    for n in range(2, 5):
        codec, _ = appended(codec, domain(n, 1500))
        assert codec.decompress(*parts).tobytes() == before.tobytes()


def test_first_centroids_buckets_and_norms_stay(codec):
    longer, _ = appended(codec, domain(2, 2000))
    assert np.array_equal(longer.centroids[: codec.n_centroids], codec.centroids)
    assert np.array_equal(longer.bucket_cutoffs, codec.bucket_cutoffs)
    assert np.array_equal(longer.bucket_weights, codec.bucket_weights)
    assert np.array_equal(longer.inverse_norm_range, codec.inverse_norm_range)
    assert longer.hash != codec.hash
    stored = type(longer).from_tensors(longer.tensors())
    assert stored.hash == longer.hash


def test_new_cells_hold_the_new_centroids(trained):
    codec = with_cells(trained)
    longer, _ = appended(codec, domain(2, 3000))
    n_old = len(codec.cells.centroids)
    assert np.array_equal(longer.cells.centroids[:n_old], codec.cells.centroids)
    assert np.array_equal(longer.cells.offsets[: n_old + 1], codec.cells.offsets)
    assert len(longer.cells.centroids) > n_old
    rows = domain(2, 800)
    found = longer.assign(rows, probes=len(longer.cells.centroids))
    scores = turned(longer.rotation, rows) @ longer.centroids.T
    assert np.allclose(scores[np.arange(len(rows)), found], scores.max(axis=1), atol=1e-6)


def test_never_more_than_asked_for(codec):
    for at_most in (1, 7, 64):
        longer, _ = appended(codec, domain(2, 3000), at_most=at_most)
        assert codec.n_centroids < longer.n_centroids <= codec.n_centroids + at_most


def test_nothing_is_appended_where_all_are_served(codec):
    rows = domain(1, 500)
    options = {"n_embeddings": 500, "at_most": 100}
    assert append_centroids(codec, rows, served=-1.0, **options) is None
    found = turned_back(codec.rotation, codec.centroids[:9]).astype(np.float32)
    assert append_centroids(codec, found, served=0.9, **options) is None


def test_a_single_embedding_and_half_precision(codec):
    rows = domain(2, 1).astype(np.float16)
    longer, cosines = appended(codec, rows)
    assert longer.n_centroids == codec.n_centroids + 1
    assert cosines.mean() > 0.999


def test_equal_seeds_give_equal_codecs(codec):
    hashes = {appended(codec, domain(2, 900), seed=3)[0].hash for _ in range(2)}
    assert len(hashes) == 1
