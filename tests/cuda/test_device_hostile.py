"""What a sound caller would not hand in is refused before a device sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded_oracle import make_collection, make_segment
from devices import OnDevice

from weft import kernels

pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture
def arrays() -> dict[str, Any]:
    """A sound segment of 4 passages under 5 centroids of dim 9, 2 bits."""
    generator = np.random.default_rng(7)
    collection = make_collection(generator, 5, 9, 2)
    segment = make_segment(generator, collection, [4, 0, 5, 3], dense=False)
    names = ["codes", "residuals", "inverse_norms", "ivf_centroids", "ivf_offsets", "ivf_pids"]
    return dict(zip([*names, "offsets", "n_centroids"], segment.arrays(), strict=True))


def test_a_sound_segment_is_taken(arrays: dict[str, Any]) -> None:
    segment = kernels.device_segment(**arrays)
    assert segment.n_passages == 4
    assert segment.residuals_on_device
    sizes = [array.nbytes for array in arrays.values() if isinstance(array, np.ndarray)]
    assert segment.device_bytes == sum(sizes)


def broken(arrays: dict[str, Any], name: str, at: int, value: int) -> dict[str, Any]:
    array = arrays[name].copy()
    array[at] = value
    return {**arrays, name: array}


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("codes", 3, 5),
        ("codes", 0, 65535),
        ("ivf_pids", 0, 4),
        ("ivf_pids", -1, 2**32 - 1),
        ("offsets", 1, -1),
        ("offsets", 2, 3),
        ("offsets", -1, 13),
        ("ivf_offsets", 0, -7),
        ("ivf_offsets", -1, 99),
        ("ivf_centroids", 1, 0),
    ],
)
def test_values_out_of_range(arrays: dict[str, Any], name: str, at: int, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        kernels.device_segment(**broken(arrays, name, at, value))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("codes", np.zeros(12, dtype=np.int64), TypeError),
        ("codes", [1, 2], TypeError),
        ("codes", np.zeros(11, dtype=np.uint16), ValueError),
        ("residuals", np.zeros((12, 3), dtype=np.int8), TypeError),
        ("residuals", np.zeros(12, dtype=np.uint8), ValueError),
        ("inverse_norms", np.zeros(13, dtype=np.uint8), ValueError),
        ("offsets", np.zeros(0, dtype=np.int64), ValueError),
        ("ivf_offsets", np.zeros(2, dtype=np.int64), ValueError),
        ("n_centroids", 0, ValueError),
        ("residuals_on", "disk", ValueError),
        ("device", -1, ValueError),
        ("device", 999, kernels.DeviceError),
    ],
)
def test_arrays_of_another_kind(
    arrays: dict[str, Any], name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        kernels.device_segment(**{**arrays, name: value})


def test_codecs_that_cannot_be(arrays: dict[str, Any]) -> None:
    centroids = np.ones((3, 4), dtype=np.float32)
    weights = np.zeros(4, dtype=np.float32)
    for bad in (
        (np.full((3, 4), np.nan, dtype=np.float32), weights, (0.0, 1.0)),
        (np.ones((0, 4), dtype=np.float32), weights, (0.0, 1.0)),
        (np.ones((3, 1025), dtype=np.float32), weights, (0.0, 1.0)),
        (centroids, np.zeros(3, dtype=np.float32), (0.0, 1.0)),
        (centroids, weights, (1.0, 0.0)),
        (centroids, weights, (0.0, float("nan"))),
    ):
        with pytest.raises(ValueError, match=r"\w+: "):
            kernels.device_codec(*bad)
    with pytest.raises(TypeError):
        kernels.device_codec(centroids.astype(np.float64), weights, (0.0, 1.0))


def test_searches_that_cannot_be() -> None:
    generator = np.random.default_rng(1)
    collection = make_collection(generator, 6, 10, 4)
    collection.segments.append(make_segment(generator, collection, [3, 2]))
    device = OnDevice(collection)
    query = np.ones((2, 10), dtype=np.float32)
    for bad in (
        np.ones((2, 11), dtype=np.float32),
        np.ones((0, 10), dtype=np.float32),
        np.ones((1024, 10), dtype=np.float32),
        np.full((2, 10), np.inf, dtype=np.float32),
    ):
        with pytest.raises(ValueError, match="query"):
            device.search(bad)
    for limits in ({"nprobe": 0}, {"n_candidates": -1}, {"n_rescored": 0}, {"n_exact": -1}):
        with pytest.raises(ValueError, match="n"):
            device.search(query, **limits)
    with pytest.raises(ValueError, match="allowed"):
        device.search(query, [np.ones(3, dtype=np.bool_)])
    with pytest.raises(TypeError, match="segments"):
        device.codec.search(
            query, ["none"], [None], nprobe=1, n_candidates=1, n_rescored=1, n_exact=0
        )
    other = make_collection(generator, 5, 10, 2)
    other.segments.append(collection.segments[0])
    with pytest.raises(ValueError, match=r"n_centroids|residuals"):
        OnDevice(other).search(query)


def test_nothing_to_search() -> None:
    generator = np.random.default_rng(2)
    collection = make_collection(generator, 6, 10, 4)
    device = OnDevice(collection)
    query = np.ones((2, 10), dtype=np.float32)
    limits = {"nprobe": 1, "n_candidates": 1, "n_rescored": 1, "n_exact": 1}
    assert [len(part) for part in device.codec.search(query, [], [], **limits)] == [0, 0, 0, 0]
    collection.segments = [make_segment(generator, collection, lengths) for lengths in ([], [0, 0])]
    found = OnDevice(collection).codec.search(
        query, OnDevice(collection).segments[:1], [None], **limits
    )
    assert len(found[1]) == 0
    empty = OnDevice(collection)
    scores = empty.codec.search(query, empty.segments, [None, None], **(limits | {"nprobe": 99}))
    assert all(score == -np.inf for score in scores[2])
    assert not np.isnan(scores[2]).any()


def test_limits_beyond_all_there_is() -> None:
    generator = np.random.default_rng(3)
    collection = make_collection(generator, 6, 10, 4)
    collection.segments.append(make_segment(generator, collection, [3, 2, 0, 9]))
    most = 2**32 - 1
    found = OnDevice(collection).search(
        np.ones((2, 10), dtype=np.float32),
        nprobe=most,
        n_candidates=most,
        n_rescored=most,
        n_exact=most,
    )
    assert sorted(found[1].tolist()) == [0, 1, 2, 3]
    assert found[1][-1] == 2
