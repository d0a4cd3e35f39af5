"""Building on a device: assignment against float64, compression byte for byte, k-means by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weft import kernels
from weft.kernels import reference

pytestmark = pytest.mark.usefixtures("device")


def unit(generator: np.random.Generator, n: int, dim: int) -> Any:
    rows = generator.normal(size=(n, dim))
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("n", "n_centroids", "dim"),
    [
        (300, 700, 128),
        (129, 128, 96),
        (1, 1, 1),
        (40, 129, 3),
        (64, 40, 200),
        (9, 50, 1024),
        (128, 2, 33),
        (130, 300, 64),
    ],
)
def test_the_nearest_centroid(n: int, n_centroids: int, dim: int, dtype: Any) -> None:
    generator = np.random.default_rng()
    centroids = unit(generator, n_centroids, dim)
    near = centroids[generator.integers(n_centroids, size=n)]
    rows = (near + unit(generator, n, dim) * np.float32(0.8)).astype(dtype)
    codes, scores = kernels.device_builder(centroids).assign(rows)
    assert (codes.dtype, scores.dtype) == (np.uint32, np.float32)
    exact = rows.astype(np.float64) @ centroids.astype(np.float64).T
    chosen = exact[np.arange(n), codes]
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert np.abs(chosen - scores).max() <= (dim + 4) * 2.0**-23 * lengths.max()
    # Two others must have come before a better one by rounding to bfloat16.
    assert (exact.max(axis=1) - chosen).max() <= 2.0**-7 * lengths.max()
    assert (codes == exact.argmax(axis=1)).mean() >= (0.98 if dim >= 64 else 0.9)


def test_ties_go_to_the_lower_centroid() -> None:
    generator = np.random.default_rng()
    centroids = np.repeat(unit(generator, 40, 64), 2, axis=0)[np.argsort(np.arange(80) % 2)]
    rows = centroids[:40] * np.float32(0.7)
    codes, _ = kernels.device_builder(np.ascontiguousarray(centroids)).assign(rows)
    assert codes.tolist() == list(range(40))


def test_negative_and_zero_scores() -> None:
    """Nothing is compared with a value that no score could be."""
    generator = np.random.default_rng()
    direction = unit(generator, 1, 48)
    centroids = (
        np.repeat(direction, 150, axis=0) * np.linspace(0.2, 1, 150, dtype=np.float32)[:, None]
    )
    codes, scores = kernels.device_builder(centroids).assign(-direction)
    assert (codes[0], scores[0] < 0) == (0, True)
    codes, scores = kernels.device_builder(centroids).assign(np.zeros((3, 48), dtype=np.float32))
    assert codes.tolist() == [0, 0, 0]
    assert scores.tolist() == [0, 0, 0]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("dim", [1, 3, 8, 100, 127, 128, 130, 1024])
def test_compression_gives_the_same_bytes(bits: int, dim: int) -> None:
    generator = np.random.default_rng()
    centroids = unit(generator, 20, dim)
    n = 67
    codes = generator.integers(0, 20, n).astype(np.uint32)
    for dtype in (np.float32, np.float16):
        rows = (centroids[codes] + unit(generator, n, dim) * np.float32(0.4)).astype(dtype)
        weights = np.sort(generator.normal(size=1 << bits).astype(np.float32)) * np.float32(0.3)
        cutoffs = ((weights[1:] + weights[:-1]) / 2).astype(np.float32)
        rows[0, 0] = centroids[codes[0], 0] + cutoffs[0]  # on a cutoff, or next to it
        arguments = (codes, cutoffs, weights, (0.4, 2.5))
        found = kernels.device_builder(centroids).compress(rows, *arguments)
        expected = reference.compress(rows, centroids, *arguments)
        assert np.array_equal(found[0], expected[0])
        with kernels.use_target("baseline"):
            expected = kernels.compress(rows, centroids, *arguments)
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])


def test_a_range_of_nothing() -> None:
    rows = np.eye(4, dtype=np.float32)
    builder = kernels.device_builder(rows)
    codes = np.arange(4, dtype=np.uint32)
    weights = np.array([-0.1, 0.1], dtype=np.float32)
    cutoffs = np.zeros(1, dtype=np.float32)
    assert not builder.compress(rows, codes, cutoffs, weights, (1.0, 1.0))[1].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("n", "k", "dim"), [(600, 9, 40), (60, 3, 1), (90, 7, 1024), (130, 129, 130), (5, 8, 3)]
)
def test_k_means_is_what_it_says(n: int, k: int, dim: int, dtype: Any) -> None:
    """Each round moves a centroid to the direction of what was assigned to it, or not at all."""
    generator = np.random.default_rng()
    topics = unit(generator, 12, dim)
    rows = topics[generator.integers(12, size=n)] + unit(generator, n, dim) * np.float32(0.3)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)
    start = unit(generator, k, dim)
    start[k - 1] = -rows.astype(np.float64).mean(axis=0)  # as a rule nearest to nobody
    builder, whole = kernels.device_builder(start), kernels.device_builder(start)
    for _ in range(3):
        before = builder.centroids().astype(np.float64)
        nearest = builder.assign(rows)[0]
        builder.refine(rows, 1)
        for number in range(k):
            total = rows[nearest == number].astype(np.float64).sum(axis=0)
            length = np.linalg.norm(total)
            if length > 1e-12:
                before[number] = total / length
        assert np.abs(builder.centroids() - before).max() < 1e-6
    whole.refine(rows, 3)
    assert np.array_equal(whole.centroids(), builder.centroids())


def test_what_cannot_be_built() -> None:
    builder = kernels.device_builder(np.eye(4, dtype=np.float32))
    good = np.eye(4, dtype=np.float32)
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[2, 1] = value
        with pytest.raises(ValueError, match="embeddings"):
            builder.assign(bad)
        with pytest.raises(ValueError, match="embeddings"):
            builder.refine(bad, 1)
    with pytest.raises(ValueError, match="components"):
        builder.assign(np.ones((2, 5), dtype=np.float32))
    with pytest.raises(ValueError, match=r"\[-2, 2\]"):
        builder.refine(good * np.float32(3), 1)
    with pytest.raises(TypeError):
        builder.assign(good.astype(np.float64))
    weights, cutoffs = np.zeros(2, dtype=np.float32), np.zeros(1, dtype=np.float32)
    with pytest.raises(ValueError, match="codes"):
        builder.compress(good, np.full(4, 4, dtype=np.uint32), cutoffs, weights, (0.0, 1.0))
    assert len(builder.assign(good[:0])[0]) == 0
    assert builder.assign(good)[0].tolist() == [0, 1, 2, 3]


def test_every_order_and_every_failure(emulation: Any) -> None:
    from weft.kernels import _cuda_emulated as module

    generator = np.random.default_rng(4)
    centroids, rows = unit(generator, 150, 40), unit(generator, 140, 40)
    weights = np.array([-0.2, -0.1, 0.1, 0.2], dtype=np.float32)
    cutoffs = np.array([-0.15, 0, 0.15], dtype=np.float32)

    def work() -> list[Any]:
        builder = kernels.device_builder(centroids)
        codes, scores = builder.assign(rows)
        packed = builder.compress(rows, codes, cutoffs, weights, (0.4, 2.5))
        builder.refine(rows, 2)
        return [codes, scores, *packed, builder.centroids()]

    expected = work()
    for order in (module.Order.backward, module.Order.shuffled):
        emulation.order = order
        assert all(np.array_equal(a, b) for a, b in zip(work(), expected, strict=True))
    emulation.order = module.Order.forward
    before = emulation.n_calls
    work()
    for number in range(emulation.n_calls - before):
        for for_memory, error in (
            (True, kernels.DeviceMemoryError),
            (False, kernels.DeviceFailedError),
        ):
            emulation.fail_for_memory = for_memory
            emulation.fail_after = emulation.n_calls + number
            with pytest.raises(error, match="on purpose"):
                work()
            emulation.fail_after = -1


def test_a_failure_leaves_nothing_under_way(emulation: Any) -> None:
    """What was to be copied to or from arrays that are gone is not copied with the next."""
    generator = np.random.default_rng(8)
    centroids, rows = unit(generator, 20, 24), unit(generator, 30, 24)
    builder = kernels.device_builder(centroids)
    expected = builder.assign(rows)
    before = emulation.n_calls
    builder.assign(rows)
    emulation.fail_for_memory, emulation.fail_once = False, True
    for number in range(emulation.n_calls - before):
        emulation.fail_after = emulation.n_calls + number
        with pytest.raises(kernels.DeviceError, match="on purpose"):
            builder.assign(rows.copy())
        waited = emulation.n_calls
        assert waited > emulation.fail_after + 1  # the wait for what was on its way
        found = builder.assign(rows)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
