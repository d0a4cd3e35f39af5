"""An index whose codec is trained and whose embeddings are compressed on a device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import weft
from weft import kernels
from weft.engine import devices
from weft.engine.codec import BuildDevice, Codec, train_codec
from weft.engine.codec import device as build_device
from weft.engine.codec.kmeans import train_centroids
from weft.engine.errors import DeviceFailedError, DeviceMemoryError, DeviceUnavailableError
from weft.kernels import reference
from weft.workers.context import IngestContext

DIM = 32
NEARLY = 2.0**-7
"""What products of unit vectors in bfloat16 may be off."""


def passages(seed: int, n: int) -> list[Any]:
    centres = np.random.default_rng(3).normal(size=(25, DIM))
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        rows = centres[generator.integers(25, size=2)][generator.integers(2, size=14)]
        rows = rows + generator.normal(size=rows.shape) * 0.7
        made.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return made


@pytest.fixture(autouse=True)
def worth_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of embeddings is enough for a device."""
    monkeypatch.setattr(build_device, "LEAST_ROWS", 1)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, as if nothing had been said before."""
    devices.announced.clear()
    with caplog.at_level(logging.WARNING, logger="weft.engine"):
        yield caplog


@pytest.fixture(scope="module")
def codec() -> Codec:
    return train_codec(np.concatenate(passages(1, 90)), n_embeddings=1260, bits=2)[0]


def make(path: Path, device: str, n: int = 40) -> weft.Index:
    """An index of one compressed segment, and one of like vectors that was added to it."""
    index = weft.Index.create(path, dim=DIM, flat_below_tokens=n, bits=4, device=device)
    ids = [f"{number:03}" for number in range(n + n // 2)]
    index.add(embeddings=passages(4, n), ids=ids[:n])
    index.compact()
    index.add(embeddings=passages(4, n)[: n // 2], ids=ids[n:])
    return index


def arrays(path: Path) -> list[dict[str, Any]]:
    """Tensors of an index's codec and compressed segments, by another reader of their format."""
    files = [*path.glob("codec/*/*.safetensors"), *path.glob("segments/*/arrays.safetensors")]
    found = [one for one in map(load_file, files) if "embeddings" not in one]
    return sorted(found, key=lambda one: len(one.get("codes", ())))


def same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.usefixtures("device")
def test_the_files_are_those_of_the_processor(tmp_path: Path) -> None:
    """So few centroids are all compared there too; none of these embeddings lies between two."""
    with make(tmp_path / "cpu", "cpu"), make(tmp_path / "cuda", "cuda"):
        expected, found = arrays(tmp_path / "cpu"), arrays(tmp_path / "cuda")
    assert len(expected) == 3
    assert same(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.usefixtures("device")
def test_compression_follows_its_definition(codec: Codec, dtype: Any) -> None:
    rows = np.concatenate(passages(8, 40)).astype(dtype)
    found = codec.compress(rows, device=BuildDevice(0, required=True))
    rotated = codec.rotated(rows)
    scores = np.asarray(rotated, dtype=np.float64) @ codec.centroids.astype(np.float64).T
    chosen = scores[np.arange(len(rows)), found.codes]
    assert (scores.max(axis=1) - chosen).max() <= NEARLY
    assert (found.codes == scores.argmax(axis=1)).mean() > 0.99
    assert np.abs(found.cosines - chosen).max() < 1e-5
    assert found.codes.dtype == np.uint16
    low, high = codec.inverse_norm_range.tolist()
    residuals, inverse_norms = reference.compress(
        rotated,
        codec.centroids,
        found.codes.astype(np.uint32),
        codec.bucket_cutoffs,
        codec.bucket_weights,
        (low, high),
    )
    assert np.array_equal(found.residuals, residuals)
    assert np.abs(found.inverse_norms.astype(int) - inverse_norms).max() <= 1


@pytest.mark.usefixtures("device")
def test_cosines_are_those_with_the_nearest(codec: Codec) -> None:
    rows = np.concatenate(passages(9, 20))
    cosines = codec.centroid_cosines(rows, device=BuildDevice(0, required=True))
    exact = (codec.rotated(rows).astype(np.float64) @ codec.centroids.T.astype(np.float64)).max(1)
    assert np.abs(cosines - exact).max() <= NEARLY


@pytest.mark.usefixtures("device")
def test_k_means_on_a_device_serves_as_well() -> None:
    """Held against k-means in float64, from as many of the rows, all compared with all."""
    rows = np.concatenate(passages(5, 60))
    rows = np.concatenate([rows, rows[:40]])  # rows that are there twice empty a centroid
    keywords = {"iterations": 4, "seed": 2, "exhaustive_below": 16}
    centroids, cells = train_centroids(rows, 48, **keywords, device=BuildDevice(0, required=True))
    assert cells is not None
    assert cells.offsets[-1] == len(centroids) <= 48
    assert np.abs(np.linalg.norm(centroids, axis=1) - 1).max() < 2e-3  # of float16
    chosen = np.random.default_rng(0).choice(len(rows), 48, replace=False)
    expected = rows[chosen].astype(np.float64)
    for _ in range(4):
        nearest = (rows @ expected.T).argmax(axis=1)
        for k in np.unique(nearest):
            total = rows[nearest == k].astype(np.float64).sum(axis=0)
            expected[k] = total / np.linalg.norm(total)
    ours, theirs = ((rows @ some.T).max(axis=1).mean() for some in (centroids, expected))
    assert ours > theirs - 0.01


def test_the_device_is_asked(tmp_path: Path, emulation: Any) -> None:
    with weft.Index.create(
        tmp_path / "index", dim=DIM, flat_below_tokens=60, device="cuda"
    ) as index:
        index.add(embeddings=passages(1, 20))
        launches = emulation.n_launches
        index.compact()
        assert emulation.n_launches > launches
        launches = emulation.n_launches
        index.add(embeddings=passages(1, 10))
        assert emulation.n_launches > launches


def test_few_embeddings_are_not_worth_the_way(
    tmp_path: Path, emulation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_device, "LEAST_ROWS", 1000)
    launches = emulation.n_launches
    make(tmp_path / "index", "cuda").close()
    assert emulation.n_launches == launches


def test_more_components_than_a_device_takes(
    emulation: Any, said: pytest.LogCaptureFixture
) -> None:
    rows = np.random.default_rng(2).normal(size=(9, 1025)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    wide = train_codec(rows, n_embeddings=9, bits=1)[0]
    device, calls = BuildDevice(0, required=True), emulation.n_calls
    for _ in range(2):
        expected, found = wide.compress(rows), wide.compress(rows, device=device)
        assert np.array_equal(found.residuals, expected.residuals)
    assert emulation.n_calls == calls
    assert len(said.records) == 1


def test_memory_goes_with_the_codec(codec: Codec, emulation: Any) -> None:
    device = BuildDevice(0, required=True)
    before = emulation.used_bytes
    mine = Codec.from_tensors(codec.tensors())
    mine.compress(passages(1, 1)[0], device=device)
    assert emulation.used_bytes > before
    del mine
    assert emulation.used_bytes == before


@pytest.mark.parametrize("for_memory", [True, False])
def test_lost_while_an_index_is_made(
    tmp_path: Path, emulation: Any, said: pytest.LogCaptureFixture, for_memory: bool
) -> None:
    """With device="auto" no failure shows, and the files are the same."""
    make(tmp_path / "right", "cpu", 8).close()
    right = arrays(tmp_path / "right")
    before = emulation.n_calls
    make(tmp_path / "counted", "auto", 8).close()
    n_calls = emulation.n_calls - before
    assert n_calls > 30
    emulation.fail_for_memory, emulation.fail_once = for_memory, for_memory
    for number in range(0, n_calls, 9):  # the next test takes each; files cost time
        emulation.fail_after = emulation.n_calls + number
        with make(tmp_path / str(number), "auto", 8):
            assert same(arrays(tmp_path / str(number)), right)
        emulation.fail_after = -1
    assert 0 < len(said.records) < 20
    assert "compressing without it" in said.text
    assert "on purpose" in said.text


@pytest.mark.parametrize("for_memory", [True, False])
def test_each_call_fails_in_turn(codec: Codec, emulation: Any, for_memory: bool) -> None:
    """Compression and a round of k-means give what the processor gives, or the device's own."""
    rows = np.concatenate(passages(6, 4))

    def work() -> list[Any]:
        device = BuildDevice(0, required=False)
        packed = codec.compress(rows, device=device)
        keywords = {"iterations": 1, "seed": 0, "exhaustive_below": 4}
        centroids = train_centroids(rows, 9, **keywords, device=device)[0]
        return [packed.codes, packed.residuals, packed.inverse_norms, centroids]

    before = emulation.n_calls
    mine = work()
    n_calls = emulation.n_calls - before
    emulation.n_devices = 0
    theirs = work()
    emulation.n_devices = 1
    emulation.fail_for_memory = for_memory
    for number in range(n_calls):
        for once in (True, False):
            emulation.fail_once = once
            emulation.fail_after = emulation.n_calls + number
            for found, ours, other in zip(work(), mine, theirs, strict=True):
                assert np.array_equal(found, ours) or np.array_equal(found, other)
            emulation.fail_after = -1


@pytest.mark.parametrize(
    ("for_memory", "error"), [(True, DeviceMemoryError), (False, DeviceFailedError)]
)
def test_lost_while_it_builds(tmp_path: Path, emulation: Any, for_memory: bool, error: Any) -> None:
    """Where the device is required, nothing of the call stays, and it can be made again."""
    emulation.fail_for_memory, emulation.fail_once = for_memory, True
    with make(tmp_path / "coded", "cuda", 30) as coded:
        _fails(coded, emulation, error, lambda: coded.add(embeddings=passages(4, 20)))
        assert coded.stats().n_documents == 65
    with weft.Index.create(tmp_path / "flat", dim=DIM, flat_below_tokens=9, device="cuda") as flat:
        flat.add(embeddings=passages(7, 20))
        _fails(flat, emulation, error, flat.compact)
        assert flat.stats().codec is not None


def _fails(index: weft.Index, emulation: Any, error: Any, change: Any) -> None:
    """A change that fails leaves the index as it was, and succeeds afterwards."""
    before, generation = _written(index.path), index.stats().generation
    emulation.fail_after = emulation.n_calls + 5
    with pytest.raises(error, match="on purpose"):
        change()
    emulation.fail_after = -1
    assert _written(index.path) == before
    assert index.stats().generation == generation
    change()
    assert not index.check().damage


def _written(path: Path) -> set[Path]:
    return {*path.glob("segments/*/*"), *path.glob("codec/*/*"), *path.glob("manifest*")}


def test_workers_follow_the_environment(
    tmp_path: Path, emulation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "index", "cpu").close()
    with IngestContext(tmp_path / "index") as context:
        assert context.writer.device is None
    monkeypatch.setenv("WEFT_DEVICE", "auto")
    with IngestContext(tmp_path / "index") as context:
        device = context.writer.device
        assert device is not None
        assert (device.name, device.required) == ("cuda:0", False)
    emulation.n_devices = 0
    with IngestContext(tmp_path / "index") as context:
        assert context.writer.device is None
    monkeypatch.setenv("WEFT_DEVICE", "cuda")
    with pytest.raises(DeviceUnavailableError):
        IngestContext(tmp_path / "index")
    assert kernels.cuda_status().usable is False
