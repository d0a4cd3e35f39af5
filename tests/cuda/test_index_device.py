"""An index whose coded segments are searched on a device: the same hits, or why not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft
from weft import kernels
from weft.engine import devices
from weft.engine.errors import (
    DeviceFailedError,
    DeviceMemoryError,
    DeviceUnavailableError,
    InvalidParameterError,
)
from weft.kernels import cuda_device

DIM = 32
LIMITS = {"nprobe": 8, "ndocs": 120, "n_rescored": 60}


def passages(generator: np.random.Generator, n: int) -> list[Any]:
    centres = generator.normal(size=(25, DIM))
    made = []
    for _ in range(n):
        rows = centres[generator.integers(25, size=2)][generator.integers(2, size=14)]
        rows = rows + generator.normal(size=rows.shape) * 0.7
        made.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of two coded segments and a flat one, some documents deleted."""
    path = tmp_path_factory.mktemp("device") / "index"
    generator = np.random.default_rng(4)
    documents = passages(generator, 900)
    with weft.Index.create(path, dim=DIM, flat_below_tokens=1000, bits=4) as index:
        ids = [str(number) for number in range(900)]
        metadata = [{"even": number % 2 == 0} for number in range(900)]
        index.add(embeddings=documents[:400], ids=ids[:400], metadata=metadata[:400])
        index.compact()
        index.add(embeddings=documents[400:], ids=ids[400:], metadata=metadata[400:])
        index.delete([str(number) for number in range(0, 900, 9)])
    return path


@pytest.fixture
def queries() -> list[Any]:
    return [rows[:9] for rows in passages(np.random.default_rng(5), 12)]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, as if nothing had been said before."""
    devices.announced.clear()
    with caplog.at_level(logging.WARNING, logger="weft.engine.search.device"):
        yield caplog


def ids_of(hits: Any) -> list[str]:
    return [hit.id for hit in hits]


def answers(folder: Path, queries: list[Any], device: str, **parameters: Any) -> list[list[str]]:
    with weft.Index.open(folder, device=device) as index:
        return [ids_of(index.search(query, 10, **LIMITS, **parameters)) for query in queries]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("parameters", [{}, {"filter": {"even": True}}], ids=["all", "filtered"])
def test_hits_are_those_of_the_processor(folder: Path, queries: list[Any], parameters: Any) -> None:
    with kernels.use_target("baseline"):
        expected = answers(folder, queries, "cpu", **parameters)
    found = answers(folder, queries, "cuda", **parameters)
    agree = [len(set(a) & set(b)) for a, b in zip(found, expected, strict=True)]
    assert min(agree) >= 9
    assert sum(agree) >= 0.98 * 10 * len(queries)
    with weft.Index.open(folder, device="cuda") as index:
        assert index.device == "cuda:0"
        batch = index.search_batch(queries, 10, **LIMITS, **parameters)
    assert [ids_of(hits) for hits in batch] == found


@pytest.mark.usefixtures("device")
def test_more_than_a_shortlist_holds_is_found_by_widening(folder: Path, queries: list[Any]) -> None:
    with weft.Index.open(folder, device="cuda") as index:
        hits = index.search(queries[0], 500, nprobe=1, ndocs=10, n_rescored=500)
        assert len(set(ids_of(hits))) == 500


def test_the_device_is_asked(folder: Path, queries: list[Any], emulation: Any) -> None:
    with weft.Index.open(folder, device="cuda") as index:
        index.search(queries[0], **LIMITS)
        launches = emulation.n_launches
        assert launches > 0
        held = emulation.used_bytes
        index.search_batch(queries, **LIMITS)
        assert emulation.used_bytes >= held
    with weft.Index.open(folder, device="cpu") as index:
        launches = emulation.n_launches
        index.search(queries[0], **LIMITS)
        assert emulation.n_launches == launches
        assert index.device == "cpu"


def test_a_reader_follows_commits_on_the_device(
    tmp_path: Path, queries: list[Any], emulation: Any
) -> None:
    documents = passages(np.random.default_rng(6), 300)
    with weft.Index.create(
        tmp_path / "index", dim=DIM, flat_below_tokens=1000, device="auto"
    ) as index:
        index.add(embeddings=documents, ids=[str(number) for number in range(300)])
        index.compact()
        best = index.search(queries[0], 1)[0].id
        index.delete([best])
        assert best not in ids_of(index.search(queries[0], 100, **LIMITS))
        index.add(embeddings=[queries[0]], ids=["itself"])
        index.compact()
        assert index.search(queries[0], 1)[0].id == "itself"
        assert index.device == "cuda:0"


def test_lost_while_it_searches(
    folder: Path, queries: list[Any], emulation: Any, said: pytest.LogCaptureFixture
) -> None:
    expected = answers(folder, queries[:1], "cpu")
    with weft.Index.open(folder, device="auto") as index:
        index.search(queries[0], 10, **LIMITS)
        emulation.fail_for_memory, emulation.fail_once = False, False
        emulation.fail_after = emulation.n_calls + 2
        for _ in range(3):
            assert [ids_of(index.search(queries[0], 10, **LIMITS))] == expected
        assert index.device == "cpu"
    assert len(said.records) == 1
    assert "on purpose" in said.text
    emulation.fail_after = -1
    with weft.Index.open(folder, device="cuda") as index:
        index.search(queries[0], 10, **LIMITS)
        emulation.fail_after = emulation.n_calls + 2
        for _ in range(2):
            with pytest.raises(DeviceFailedError, match="on purpose"):
                index.search(queries[0], 10, **LIMITS)


def test_too_small_for_the_index(
    folder: Path, queries: list[Any], emulation: Any, said: pytest.LogCaptureFixture
) -> None:
    expected = answers(folder, queries[:2], "cpu")
    emulation.memory_bytes = 20_000
    assert answers(folder, queries[:2], "auto") == expected
    assert len(said.records) == 1
    assert "too small" in said.text
    with weft.Index.open(folder, device="cuda") as index:
        with pytest.raises(DeviceMemoryError, match="more memory") as raised:
            index.search(queries[0], **LIMITS)
        assert isinstance(raised.value, MemoryError)


def test_each_call_of_a_search_fails_in_turn(
    folder: Path, queries: list[Any], emulation: Any
) -> None:
    """With device="auto" no failure shows: the hits are those of the one or the other."""
    right = [answers(folder, queries[:1], name)[0] for name in ("cpu", "cuda")]
    before = emulation.n_calls
    answers(folder, queries[:1], "auto")
    n_calls = emulation.n_calls - before
    for for_memory in (True, False):
        emulation.fail_for_memory = for_memory
        emulation.fail_once = for_memory
        for number in range(n_calls):
            emulation.fail_after = emulation.n_calls + number
            assert answers(folder, queries[:1], "auto")[0] in right
            emulation.fail_after = -1


def test_without_a_gpu(
    folder: Path,
    queries: list[Any],
    emulation: Any,
    said: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulation.n_devices = 0
    with pytest.raises(DeviceUnavailableError, match="device 0 of 0"):
        weft.Index.open(folder, device="cuda")
    for _ in range(3):
        weft.Index.open(folder, device="auto").close()
    assert len(said.records) == 1
    assert "device 0 of 0" in said.text
    monkeypatch.setenv("WEFT_DEVICE", "cuda")
    with pytest.raises(DeviceUnavailableError):
        weft.Index.open(folder)
    weft.Index.open(folder, device="cpu").close()
    emulation.n_devices = 1
    with weft.Index.open(folder) as index:
        assert index.device == "cuda:0"
        assert ids_of(index.search(queries[0], **LIMITS))
    with pytest.raises(DeviceUnavailableError, match="device 7 of 1"):
        weft.Index.open(folder, device="cuda:7")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA", "cuda:-1", "", 0, b"cpu"])
def test_names_that_are_no_device(folder: Path, name: Any) -> None:
    with pytest.raises(InvalidParameterError, match="device"):
        weft.Index.open(folder, device=name)


def test_a_search_does_not_choose_the_device(folder: Path, queries: list[Any]) -> None:
    with weft.Index.open(folder) as index, pytest.raises(InvalidParameterError, match="device"):
        index.search(queries[0], device="cuda")


def test_info_says_what_can_serve(emulation: Any) -> None:
    cuda = weft.info()["cuda"]
    assert cuda["usable"]
    assert cuda["devices"][0]["memory_bytes"] == emulation.memory_bytes
    emulation.n_devices = 0
    assert not weft.info()["cuda"]["usable"]


def test_the_kernels_were_compiled_where_nvcc_is() -> None:
    """Machine code for two generations and PTX for later ones, and nothing loaded without need."""
    import shutil
    import sys
    from importlib.util import find_spec

    spec = find_spec("weft.kernels._cuda")
    if spec is None:
        assert shutil.which("nvcc") is None, "nvcc is here, but the kernels were not built"
        pytest.skip("not compiled, no nvcc: the kernels for GPUs were tested on the host only")
    assert spec.origin is not None
    binary = Path(spec.origin).read_bytes()
    assert b"sm_80" in binary
    assert b"sm_90" in binary
    assert b"libcuda.so.1" in binary  # opened when it is needed, not linked
    if not cuda_device.cuda_status().usable:
        assert "weft.kernels._cuda" not in sys.modules or "driver" not in str(
            cuda_device.cuda_status().reason
        )


def test_the_encoder_goes_where_the_search_does(
    tmp_path: Path, emulation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 on the same GPU where PyTorch has CUDA; where it has not, as it was."""
    import torch

    from weft.engine.encoder.placement import placed
    from weft.engine.encoder.runtime import Runtime

    assert placed(None, "cuda:0") is None
    assert placed("folder", None) == "folder"
    made: list[tuple[str, str]] = []

    def refuse(self: Any, checkpoint: Any, padding: int, **where: Any) -> None:
        made.append((where["device"], where["dtype"]))
        raise RuntimeError("no GPU in this test")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Runtime, "__init__", refuse)
    with (
        weft.Index.create(tmp_path / "index", device="cuda") as index,
        pytest.raises(RuntimeError, match="no GPU"),
    ):
        index.add(["A text."])
    with (
        weft.Index.open(tmp_path / "index", device="auto") as index,
        pytest.raises(RuntimeError, match="no GPU"),
    ):
        index.search("A query.")
    assert made == [("cuda:0", "bf16")] * 2
    with weft.Index.create(tmp_path / "vectors", dim=8, device="cuda") as index:
        assert index.device == "cuda:0"
