"""Devices that refuse or fail at any moment: an error by name or the right answer, no crash."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from devices import OnDevice, clustered

from weft import kernels
from weft.kernels import cuda_device

LIMITS = {"nprobe": 4, "n_candidates": 50, "n_rescored": 20, "n_exact": 5}


@pytest.fixture(scope="module")
def sample() -> Any:
    return clustered(np.random.default_rng(2), 120, 64, 16, 4)


def calls_of(emulation: Any, work: Callable[[], Any]) -> int:
    before = emulation.n_calls
    work()
    return int(emulation.n_calls - before)


@pytest.mark.parametrize("for_memory", [True, False])
@pytest.mark.parametrize("once", [True, False])
def test_each_call_fails_in_turn(sample: Any, emulation: Any, for_memory: bool, once: bool) -> None:
    """From the first upload to the last wait: each of the calls, by itself and all from it on."""
    collection, queries = sample
    mask = [np.random.default_rng(1).random(collection.segments[0].n_passages) < 0.9]

    def work() -> Any:
        device = OnDevice(collection)
        return [
            *device.search_batch(list(queries[:4]), mask, **LIMITS),
            device.search(queries[4], **LIMITS),
        ]

    expected = work()
    n_calls = calls_of(emulation, work)
    assert n_calls > 60
    emulation.fail_for_memory, emulation.fail_once = for_memory, once
    n_errors = 0
    error = kernels.DeviceMemoryError if for_memory else kernels.DeviceFailedError
    for number in range(n_calls):
        emulation.fail_after = emulation.n_calls + number
        try:
            found = work()
        except error as raised:
            n_errors += 1
            assert "on purpose" in str(raised)
            continue
        finally:
            emulation.fail_after = -1
        for ours, theirs in zip(found, expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    # Memory that was missing once is asked for again by searches, but not by uploads.
    assert n_errors >= n_calls / 2 if not for_memory else n_errors > 5
    gc.collect()
    assert emulation.used_bytes == 0


def test_a_device_that_failed_is_not_asked_again(sample: Any, emulation: Any) -> None:
    collection, queries = sample
    device = OnDevice(collection)
    device.search(queries[0], **LIMITS)
    emulation.fail_for_memory, emulation.fail_once = False, True
    emulation.fail_after = emulation.n_calls + 2  # the wait: lost while it searched
    with pytest.raises(kernels.DeviceFailedError, match="on purpose"):
        device.search(queries[0], **LIMITS)
    with pytest.raises(kernels.DeviceFailedError, match="on purpose"):
        device.search(queries[0], **LIMITS)
    assert len(OnDevice(collection).search(queries[0], **LIMITS)[1]) == 20


def test_batches_shrink_until_they_fit(sample: Any, emulation: Any) -> None:
    """With memory for one query at a time a batch still is answered, by any number of threads."""
    collection, queries = sample
    device = OnDevice(collection)
    held = emulation.used_bytes
    expected = device.search_batch(list(queries), **LIMITS)
    alone = OnDevice(collection)
    before = emulation.used_bytes
    alone.search(queries[0], **LIMITS)
    needed = emulation.used_bytes - before
    del device, alone
    gc.collect()
    fresh = OnDevice(collection)
    emulation.memory_bytes = held + needed + needed // 2
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: fresh.search_batch(list(queries), **LIMITS), range(12)))
    for found in batches:
        for ours, theirs in zip(found, expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    emulation.memory_bytes = held + needed // 2
    with pytest.raises(kernels.DeviceMemoryError, match="bytes"):
        fresh_again(collection, fresh).search(queries[0], **LIMITS)


def fresh_again(collection: Any, device: OnDevice) -> OnDevice:
    """The same segments under a codec that has no working memory yet."""
    device.codec = kernels.device_codec(
        collection.centroids, collection.weights, collection.norm_range
    )
    return device


def test_residuals_go_to_the_host_where_the_device_is_full(sample: Any, emulation: Any) -> None:
    collection, queries = sample
    expected = OnDevice(collection).search(queries[0], **LIMITS)
    gc.collect()
    whole = OnDevice(collection)
    held = emulation.used_bytes
    del whole
    gc.collect()
    emulation.memory_bytes = held  # a tenth must stay free
    small = OnDevice(collection)
    assert [segment.residuals_on_device for segment in small.segments] == [False]
    emulation.memory_bytes = 1 << 33
    found = small.search(queries[0], **LIMITS)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_no_devices_at_all(emulation: Any) -> None:
    emulation.n_devices = 0
    status = cuda_device.cuda_status()
    assert not status.usable
    assert "device 0 of 0" in status.reason


def test_a_driver_that_fails_is_a_reason(emulation: Any) -> None:
    emulation.fail_for_memory, emulation.fail_once = False, True
    emulation.fail_after = emulation.n_calls
    status = cuda_device.cuda_status()
    assert not status.usable
    assert "on purpose" in status.reason
    assert cuda_device.cuda_status().usable


def test_without_a_driver_the_reason_says_so() -> None:
    status = cuda_device.cuda_status()
    if status.usable:
        assert status.devices
    else:
        assert any(word in status.reason for word in ("driver", "nvcc", "device"))
        with pytest.raises(kernels.DeviceUnavailableError):
            kernels.device_codec(
                np.ones((1, 1), dtype=np.float32), np.zeros(2, dtype=np.float32), (0.0, 1.0)
            )


def _in_child(calls: Any, answers: Any) -> None:
    for call in calls:
        try:
            call()
        except kernels.DeviceFailedError as error:
            answers.put(str(error))
        else:
            answers.put("no error")


def test_a_forked_child_is_told(sample: Any, emulation: Any) -> None:
    """A GPU's context does not survive a fork; the parent goes on."""
    collection, queries = sample
    device = OnDevice(collection)
    device.search(queries[0], **LIMITS)
    builder = kernels.device_builder(collection.centroids)
    calls = [
        lambda: device.search(queries[0], **LIMITS),
        lambda: builder.assign(queries[0]),
        builder.centroids,
    ]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(calls, answers))
    child.start()
    for _ in calls:
        assert "forked" in answers.get(timeout=60)
    child.join()
    assert np.array_equal(builder.centroids(), collection.centroids)
    assert len(device.search(queries[0], **LIMITS)[1]) == 20
