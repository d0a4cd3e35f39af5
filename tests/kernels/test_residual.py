"""Assignment, packing, compression and decompression on every target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft import kernels
from weft.kernels import reference

TARGETS = kernels.targets()
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
widths = st.sampled_from([1, 2, 4, 8])
dims = st.one_of(st.integers(1, 70), st.sampled_from([96, 128, 384, 1000]))


@pytest.mark.parametrize("target", TARGETS)
@few
@given(
    seed=seeds,
    n=st.integers(0, 130),
    n_centroids=st.integers(1, 90),
    dim=dims,
    dtype=st.sampled_from(["f2", "f4"]),
)
def test_assign_of_integers_is_exact(
    target: str, seed: int, n: int, n_centroids: int, dim: int, dtype: str
) -> None:
    generator = np.random.default_rng(seed)
    embeddings = generator.integers(-3, 4, (n, dim)).astype(dtype)
    centroids = generator.integers(-3, 4, (n_centroids, dim)).astype(np.float32)
    scores = embeddings.astype(np.int64) @ centroids.astype(np.int64).T
    with kernels.use_target(target):
        codes, best = kernels.assign(embeddings, centroids)
    assert codes.dtype == np.uint32
    assert np.array_equal(codes, scores.argmax(axis=1))
    assert np.array_equal(best, scores.max(axis=1))


@pytest.mark.parametrize("dim", [1, 3, 48, 128, 384, 1000, 4096])
def test_assign_picks_a_best_centroid_up_to_rounding(target: str, dim: int) -> None:
    generator = np.random.default_rng(dim)
    rows = [generator.normal(size=(n, dim)).astype(np.float32) for n in (531, 257)]
    embeddings, centroids = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in rows)
    exact = embeddings.astype(np.float64) @ centroids.astype(np.float64).T
    bound = (dim + 2) * np.finfo(np.float32).eps
    codes, scores = kernels.assign(embeddings, centroids)
    assert np.abs(scores - exact[np.arange(531), codes]).max() <= bound
    assert (exact.max(axis=1) - exact[np.arange(531), codes]).max() <= 2 * bound


def test_assign_never_chooses_nan(target: str) -> None:
    centroids = np.array([[np.nan, 1], [-1, -1], [np.nan, np.nan]], dtype=np.float32)
    embeddings = np.ones((3, 2), dtype=np.float32)
    for assign in (kernels.assign, reference.assign):
        assert assign(embeddings, centroids)[0].tolist() == [1, 1, 1]
        with pytest.raises(ValueError, match="centroids"):
            assign(embeddings, centroids[:1])


@pytest.mark.parametrize("target", TARGETS)
@few
@given(seed=seeds, n=st.integers(0, 20), dim=dims, bits=widths)
def test_pack_and_unpack(target: str, seed: int, n: int, dim: int, bits: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (n, dim)).astype(np.uint8)
    with kernels.use_target(target):
        packed = kernels.pack(codes, bits)
        assert np.array_equal(kernels.unpack(packed, bits, dim), codes)
    assert packed.shape == (n, -(-dim * bits // 8))
    for row, expected in zip(packed, codes, strict=True):
        number = int.from_bytes(row.tobytes(), "little")
        assert number == sum(int(code) << (d * bits) for d, code in enumerate(expected))


@pytest.mark.parametrize("target", TARGETS)
@few
@given(
    seed=seeds,
    n=st.integers(0, 40),
    dim=dims,
    bits=widths,
    narrow=st.booleans(),
    half=st.booleans(),
    limits=st.sampled_from([(0.01, 1.0), (0.5, 0.5), (0.9, 1.1)]),
)
def test_every_target_writes_the_same_bytes(
    target: str,
    seed: int,
    n: int,
    dim: int,
    bits: int,
    narrow: bool,
    half: bool,
    limits: tuple[float, float],
) -> None:
    """Compression has no choice left: each residual is one subtraction, norms are float64."""
    generator = np.random.default_rng(seed)
    embeddings = (generator.integers(-99, 99, (n, dim)) / 64).astype(np.float32)
    centroids = (generator.integers(-99, 99, (7, dim)) / 64).astype(np.float32)
    codes = generator.integers(0, 7, n).astype("u2" if narrow else "u4")
    cutoffs = np.sort(generator.integers(-99, 99, (1 << bits) - 1) / 64).astype(np.float32)
    weights = np.sort(generator.normal(size=1 << bits)).astype(np.float32)

    buckets = (cutoffs <= (embeddings - centroids[codes])[:, :, None]).sum(axis=2)
    restored = centroids[codes] + weights[buckets]
    with kernels.use_target(target):
        rows = embeddings.astype("f2") if half else embeddings
        residuals, norms = kernels.compress(rows, centroids, codes, cutoffs, weights, limits)
        back = kernels.decompress(codes, residuals, norms, centroids, weights, limits)
    assert np.array_equal(rows, embeddings)
    assert np.array_equal(residuals, reference.pack(buckets.astype(np.uint8), bits))
    low, high = limits
    if low < high:
        inverse = 1 / np.linalg.norm(restored.astype(np.float64), axis=1)
        places = np.clip((inverse - low) / (high - low) * 255, 0, 255)
        assert np.abs(norms - places).max(initial=0) <= 0.5 + 1e-9
    inverse = (low + norms * ((high - low) / 255)).astype(np.float32)
    assert np.array_equal(back, restored * inverse[:, None])
    written = reference.compress(rows, centroids, codes, cutoffs, weights, limits)
    assert np.array_equal(residuals, written[0])
    assert np.array_equal(norms, written[1])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_compression_keeps_directions(target: str, bits: int) -> None:
    """More bits, nearer vectors, even of noise without structure."""
    generator = np.random.default_rng(bits)
    embeddings = generator.normal(size=(500, 48)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    centroids = embeddings[::10].copy()
    codes, _ = kernels.assign(embeddings, centroids)
    levels = 1 << bits
    spread = embeddings - centroids[codes]
    cutoffs = np.quantile(spread, np.arange(1, levels) / levels).astype(np.float32)
    weights = np.quantile(spread, (np.arange(levels) + 0.5) / levels).astype(np.float32)
    limits = (0.25, 2.0)
    residuals, norms = kernels.compress(embeddings, centroids, codes, cutoffs, weights, limits)
    back = kernels.decompress(codes, residuals, norms, centroids, weights, limits)
    cosine = (back * embeddings).sum(axis=1) / np.linalg.norm(back, axis=1)
    assert cosine.mean() > {1: 0.7, 2: 0.85, 4: 0.97, 8: 0.999}[bits]
    assert np.abs(np.linalg.norm(back, axis=1) - 1).max() < 0.01
