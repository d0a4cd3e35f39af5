"""Rotation before compression: products stay, what varies unevenly loses less."""

import numpy as np
import pytest
from rotations import turned, turned_back

from weft.engine.codec import train_codec
from weft.engine.codec.rotation import make_rotation, rotate


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def uneven(n, dim, seed):
    """Directions whose components vary less and less."""
    rows = np.random.default_rng(seed).normal(size=(n, dim)) / np.arange(1, dim + 1) ** 0.7
    return unit(rows)


@pytest.mark.parametrize(
    ("dim", "size"),
    [(128, 64), (384, 64), (96, 48), (100, 50), (48, 48), (768, 64), (8, 8), (7, None), (97, None)],
)
def test_blocks_divide_the_dim(dim, size):
    rotation = make_rotation(dim, 0)
    assert (None if rotation is None else rotation.shape) == (
        None if size is None else (size, size)
    )


@pytest.mark.parametrize("dim", [8, 100, 128, 384])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_it_is_its_definition_and_turns_back(dim, dtype):
    rows, rotation = uneven(50, dim, 1).astype(dtype), make_rotation(dim, 3)
    wide = rotation.astype(np.float64)
    np.testing.assert_allclose(wide @ wide.T, np.eye(len(wide)), atol=1e-6)
    done = rotate(rows, rotation)
    assert done.dtype == np.float32
    np.testing.assert_allclose(done, turned(rotation, rows), atol=1e-6)
    np.testing.assert_allclose(rotate(done, rotation, inverse=True), rows, atol=2e-6)
    np.testing.assert_allclose(turned_back(rotation, turned(rotation, rows)), rows, atol=1e-6)
    before = rows.astype(np.float64) @ rows.astype(np.float64).T
    np.testing.assert_allclose(done.astype(np.float64) @ done.T, before, atol=2e-5)


def test_threads_change_nothing():
    rows, rotation = uneven(3000, 128, 1), make_rotation(128, 3)
    one, three = (rotate(rows, rotation, threads=n) for n in (1, 3))
    assert one.tobytes() == three.tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_uneven_components_lose_less(bits, monkeypatch):
    sample, rows = uneven(4000, 64, 1), uneven(1000, 64, 2)
    options = {"n_embeddings": 4000, "bits": bits, "n_centroids": 32}
    rotated, _ = train_codec(sample, **options)
    monkeypatch.setattr("weft.engine.codec.training.make_rotation", lambda dim, seed: None)
    plain, _ = train_codec(sample, **options)
    assert plain.rotation is None
    lost = [codec.reconstruction_error(rows).mean_squared_error for codec in (rotated, plain)]
    assert lost[0] < 0.9 * lost[1]
