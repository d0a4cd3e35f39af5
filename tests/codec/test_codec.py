"""Assignment, compression and reconstruction against NumPy in float64."""

import numpy as np
import pytest
from plaid_oracle import Coder
from rotations import turned, turned_back

from weft.engine.codec import Codec, cells, train_codec
from weft.engine.errors import DimensionMismatchError, InvalidEmbeddingError

BITS = (1, 2, 4, 8)


def unit(n, dim, seed=0, topics=None):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, dim))
    if topics is not None:
        middles = np.random.default_rng(99).normal(size=(topics, dim))
        rows = middles[rng.integers(topics, size=n)] + 0.4 * rows
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=BITS)
def codec(request):
    return train_codec(unit(2000, 20, topics=40), n_embeddings=2000, bits=request.param)[0]


@pytest.fixture(scope="module")
def large():
    """A codec with enough centroids for the two-level search."""
    sample = unit(12_000, 16, topics=400)
    codec, _ = train_codec(sample, n_embeddings=12_000, bits=2, n_centroids=3000)
    assert codec.cells is not None
    return codec


def oracle_of(codec):
    low, high = codec.inverse_norm_range.astype(np.float64)
    return Coder(codec.centroids, codec.bucket_cutoffs, codec.bucket_weights, low, high)


def test_compress_is_its_definition(codec):
    rows = unit(300, 20, seed=1, topics=40)
    packed = codec.compress(rows)
    oracle = oracle_of(codec)
    codes, buckets, steps = oracle.encode(turned(codec.rotation, rows))
    assert packed.codes.dtype == codec.code_dtype == np.uint16
    assert (packed.codes == codes).mean() > 0.999
    agree = packed.codes == codes
    # A residual within rounding of a cutoff may fall on either side of it.
    bits = np.unpackbits(packed.residuals ^ oracle.pack(buckets), axis=1)[agree]
    assert bits.mean() < 1e-4
    same = agree.copy()
    same[agree] = ~bits.any(axis=1)
    assert np.abs(packed.inverse_norms.astype(int) - steps)[same].max() <= 1


def test_decompress_is_its_definition(codec):
    rng = np.random.default_rng(2)
    buckets = rng.integers(0, 1 << codec.bits, size=(200, 20))
    codes = rng.integers(0, codec.n_centroids, size=200).astype(np.uint16)
    steps = rng.integers(0, 256, size=200).astype(np.uint8)
    oracle = oracle_of(codec)
    rebuilt = codec.decompress(codes, oracle.pack(buckets), steps)
    expected = turned_back(codec.rotation, oracle.decode(codes, buckets, steps))
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)


def test_reconstructions_have_length_one_and_point_the_same_way(codec):
    rows = unit(500, 20, seed=3, topics=40)
    packed = codec.compress(rows)
    rebuilt = codec.decompress(packed.codes, packed.residuals, packed.inverse_norms)
    low, high = codec.inverse_norm_range
    # The byte rounds 1/norm by at most half a step.
    lengths = np.linalg.norm(rebuilt.astype(np.float64), axis=1)
    inside = (packed.inverse_norms > 0) & (packed.inverse_norms < 255)
    assert inside.mean() > 0.99
    assert np.abs(lengths - 1)[inside].max() <= (high - low) / 255 / low
    least = {1: 0.9, 2: 0.95, 4: 0.99, 8: 0.999}[codec.bits]
    assert (rows * rebuilt).sum(axis=1).mean() / lengths.mean() > least


def test_reconstruction_error_is_measured_as_it_says(codec):
    rows = unit(400, 20, seed=4, topics=40)
    packed = codec.compress(rows)
    parts = (packed.codes, packed.residuals, packed.inverse_norms)
    rebuilt = codec.decompress(*parts).astype(np.float64)
    cosines = (rows * rebuilt).sum(axis=1) / np.linalg.norm(rebuilt, axis=1)
    error = codec.reconstruction_error(rows)
    assert error.n_embeddings == 400
    assert error.mean_cosine == pytest.approx(cosines.mean(), abs=1e-5)
    assert error.min_cosine == pytest.approx(cosines.min(), abs=1e-5)
    squared = np.square(rows - rebuilt).sum(axis=1).mean()
    assert error.mean_squared_error == pytest.approx(squared, rel=1e-4)


def test_more_bits_lose_less():
    sample, rows = unit(2000, 20, topics=40), unit(400, 20, seed=4, topics=40)
    errors = [
        train_codec(sample, n_embeddings=2000, bits=bits)[0].reconstruction_error(rows)
        for bits in BITS
    ]
    squared = [error.mean_squared_error for error in errors]
    assert squared == sorted(squared, reverse=True)
    assert squared[3] < squared[0] / 20


def test_halves_are_taken_as_floats(codec):
    rows = unit(50, 20, seed=5).astype(np.float16)
    a, b = codec.compress(rows), codec.compress(rows.astype(np.float32))
    assert a.codes.tolist() == b.codes.tolist()
    assert a.residuals.tobytes() == b.residuals.tobytes()


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 64])
def test_a_row_does_not_depend_on_its_neighbours(large, monkeypatch, rows_at_a_time):
    rows = unit(200, 16, seed=6, topics=400)
    whole = large.compress(rows)
    monkeypatch.setattr(cells, "CHUNK_BYTES", rows_at_a_time * 4 * 16)
    parts = large.compress(rows)
    for name in ("codes", "residuals", "inverse_norms"):
        assert getattr(whole, name).tobytes() == getattr(parts, name).tobytes()


def test_no_rows_give_no_rows(large):
    packed = large.compress(np.empty((0, 16), dtype=np.float32))
    assert packed.codes.shape == (0,)
    assert packed.residuals.shape == (0, 4)
    rebuilt = large.decompress(packed.codes, packed.residuals, packed.inverse_norms)
    assert rebuilt.shape == (0, 16)


def test_two_levels_with_all_cells_are_exhaustive(large):
    rows = unit(2000, 16, seed=7, topics=400)
    scores = turned(large.rotation, rows) @ large.centroids.T.astype(np.float64)
    codes = large.assign(rows, probes=10_000)
    picked = scores[np.arange(len(rows)), codes]
    np.testing.assert_allclose(picked, scores.max(axis=1), atol=1e-6)


def test_two_levels_by_default_hardly_miss(large):
    rows = unit(2000, 16, seed=7, topics=400)
    scores = turned(large.rotation, rows) @ large.centroids.T.astype(np.float64)
    picked = scores[np.arange(len(rows)), large.assign(rows)]
    assert (picked >= scores.max(axis=1) - 1e-6).mean() > 0.95
    assert (scores.max(axis=1) - picked).mean() < 2e-3


def test_equal_centroids_within_reach_go_to_the_lower_number():
    centroids = np.eye(4, dtype=np.float32)[[0, 1, 1, 2]]
    weights, reach = np.array([-0.1, 0.1], np.float32), np.array([0.5, 1.5], np.float32)
    codec = Codec(centroids, np.zeros(1, np.float32), weights, reach, 1)
    halfway = np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float32)
    assert codec.assign(halfway).tolist() == [0, 1, 0]


def test_wrong_dim_and_no_rows_are_typed_errors(codec):
    with pytest.raises(DimensionMismatchError, match="20"):
        codec.compress(unit(3, 19))
    with pytest.raises(DimensionMismatchError):
        codec.assign(unit(3, 20)[0])
    with pytest.raises(InvalidEmbeddingError, match="at least one"):
        codec.reconstruction_error(np.empty((0, 20), dtype=np.float32))
