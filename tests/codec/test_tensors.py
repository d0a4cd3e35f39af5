"""Stored tensors: back without loss, and refused where they are not a codec's."""

import numpy as np
import pytest

from weft.engine.codec import Codec, train_codec
from weft.engine.errors import CorruptIndexError, InvalidParameterError


def unit(n, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def codec():
    return train_codec(unit(6000, 8), n_embeddings=6000, bits=2, n_centroids=2200)[0]


def test_back_without_loss(codec):
    stored = codec.tensors()
    assert stored["centroids"].dtype == np.float16
    again = Codec.from_tensors(stored)
    assert again.hash == codec.hash
    assert len(again.hash) == 32
    assert again.bits == codec.bits
    np.testing.assert_array_equal(again.centroids, codec.centroids)
    rows = unit(300, 8, seed=1)
    for name in ("codes", "residuals", "inverse_norms"):
        live, reopened = (getattr(c.compress(rows), name) for c in (codec, again))
        assert live.tobytes() == reopened.tobytes()


@pytest.mark.parametrize("name", ["centroids", "bucket_weights", "inverse_norm_range"])
def test_the_hash_covers_every_tensor(codec, name):
    stored = {key: tensor.copy() for key, tensor in codec.tensors().items()}
    stored[name].reshape(-1)[-1] += np.float16(0.125)
    assert Codec.from_tensors(stored).hash != codec.hash


def test_the_hash_covers_bits_and_cells(codec):
    stored = codec.tensors()
    del stored["cell_centroids"], stored["cell_offsets"]
    assert Codec.from_tensors(stored).hash != codec.hash


def test_the_hash_covers_the_rotation(codec):
    stored = codec.tensors()
    assert "rotation" in stored
    del stored["rotation"]
    assert Codec.from_tensors(stored).hash != codec.hash


def spoiled(name, spoil):
    def change(stored):
        stored[name] = spoil(stored[name].copy())

    return pytest.param(change, id=f"{name}-{spoil.__name__}")


def with_nan(tensor):
    tensor.reshape(-1)[0] = np.nan
    return tensor


def with_infinity(tensor):
    tensor.reshape(-1)[-1] = np.inf
    return tensor


def as_float64(tensor):
    return tensor.astype(np.float64)


def as_float32(tensor):
    return tensor.astype(np.float32)


def flat(tensor):
    return tensor.reshape(-1)


def one_less(tensor):
    return tensor[:-1]


def none(tensor):
    return tensor[:0]


def no_components(tensor):
    return tensor[:, :0]


def one_component_less(tensor):
    return np.ascontiguousarray(tensor[:, :-1])


def backwards(tensor):
    return tensor[::-1].copy()


def negative(tensor):
    return -tensor


def doubled(tensor):
    return tensor * 2


def constant(tensor):
    return np.full_like(tensor, tensor[0])


HOSTILE = [
    *(spoiled("centroids", s) for s in (with_nan, with_infinity, as_float32, flat, none)),
    *(spoiled("centroids", s) for s in (no_components, one_less, one_component_less)),
    *(spoiled("bucket_cutoffs", s) for s in (with_nan, as_float64, one_less, none, backwards)),
    *(spoiled("bucket_weights", s) for s in (with_infinity, one_less, none, backwards)),
    *(spoiled("inverse_norm_range", s) for s in (with_nan, one_less, backwards, negative)),
    spoiled("inverse_norm_range", constant),
    *(spoiled("cell_centroids", s) for s in (with_nan, as_float64, one_less, one_component_less)),
    *(spoiled("cell_offsets", s) for s in (one_less, backwards, doubled, negative, constant)),
    *(spoiled("rotation", s) for s in (with_nan, as_float64, one_less, doubled, none)),
    *(spoiled("rotation", s) for s in (with_infinity, one_component_less, constant)),
    *(pytest.param(lambda d, n=n: d.pop(n), id=f"no-{n}") for n in ("centroids", "cell_offsets")),
    pytest.param(lambda d: d.update(more=np.zeros(1)), id="unknown"),
    pytest.param(lambda d: d.clear(), id="nothing"),
]


@pytest.mark.parametrize("change", HOSTILE)
def test_hostile_tensors_are_refused(codec, change):
    stored = dict(codec.tensors())
    change(stored)
    with pytest.raises(CorruptIndexError):
        Codec.from_tensors(stored)


def test_a_codec_is_checked_however_it_is_made(codec):
    sevenths = codec.centroids / 7
    with pytest.raises(InvalidParameterError, match="fp16"):
        Codec(
            sevenths,
            codec.bucket_cutoffs,
            codec.bucket_weights,
            codec.inverse_norm_range,
            codec.bits,
        )
    with pytest.raises(InvalidParameterError, match="bits"):
        Codec(
            codec.centroids,
            codec.bucket_cutoffs,
            codec.bucket_weights,
            codec.inverse_norm_range,
            3,
        )
