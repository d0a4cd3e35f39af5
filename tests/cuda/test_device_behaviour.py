"""Masks, batches, threads, graphs, and the order in which threads of a block run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from coded_oracle import make_collection, make_segment
from devices import OnDevice, clustered, on_host

LIMITS = {"nprobe": 6, "n_candidates": 90, "n_rescored": 40, "n_exact": 7}


def same(left: Any, right: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.fixture(scope="module")
def sample() -> Any:
    return clustered(np.random.default_rng(11), 700, 300, 48, 4)


@pytest.mark.usefixtures("device")
def test_a_batch_gives_what_single_queries_give(sample: Any) -> None:
    collection, queries = sample
    device = OnDevice(collection)
    mixed = [query[: 1 + 3 * number] for number, query in enumerate(queries)] + list(queries) * 2
    mixed += [np.concatenate([queries[0], queries[1]])]
    together = device.search_batch(mixed, **LIMITS)
    for query, found in zip(mixed, together, strict=True):
        assert same(found, device.search(query, **LIMITS))
    assert device.search_batch([], **LIMITS) == []


@pytest.mark.usefixtures("device")
def test_only_allowed_passages_are_found(sample: Any) -> None:
    collection, queries = sample
    device = OnDevice(collection)
    generator = np.random.default_rng(5)
    for share in (0.5, 0.05, 0.0):
        allowed = [generator.random(collection.segments[0].n_passages) < share]
        found = device.search(queries[0], allowed, **LIMITS)
        expected = on_host(collection, queries[0], allowed, **LIMITS)
        assert allowed[0][found[1]].all()
        assert set(found[1].tolist()) == set(expected[1].tolist())
        assert same(found, device.search_batch(list(queries), allowed, **LIMITS)[0])
    all_of_them = [np.ones(collection.segments[0].n_passages, dtype=np.bool_)]
    unlimited = device.search(queries[0], **LIMITS)
    assert same(unlimited, device.search(queries[0], all_of_them, **LIMITS))


@pytest.mark.usefixtures("device")
def test_a_changed_mask_counts(sample: Any) -> None:
    """The same array with other contents is another mask."""
    collection, queries = sample
    device = OnDevice(collection)
    mask = np.ones(collection.segments[0].n_passages, dtype=np.bool_)
    best = device.search(queries[0], [mask], **LIMITS)[1][0]
    mask[best] = False
    assert best not in device.search(queries[0], [mask], **LIMITS)[1]


@pytest.mark.usefixtures("device")
def test_segments_side_by_side_score_as_one(sample: Any) -> None:
    collection, queries = sample
    generator = np.random.default_rng(6)
    extra = make_segment(generator, collection, [3, 0, 9, 30], n_centroids=120, dense=False)
    both = type(collection)(collection.centroids, collection.weights, collection.norm_range)
    both.segments = [extra, collection.segments[0], extra]
    device, alone = OnDevice(both), OnDevice(collection)
    for query in queries[:5]:
        together = device.search(query, **LIMITS)
        scores = dict(zip(*alone.search(query, **(LIMITS | {"n_exact": 0}))[1:3], strict=True))
        sharp = device.search(query, **(LIMITS | {"n_exact": 0}))
        for number, pid, score in zip(*sharp[:3], strict=True):
            assert number != 1 or pid not in scores or scores[pid] == score
        expected = on_host(both, query, **LIMITS)
        assert len(set(together[1]) & set(expected[1])) >= 0.9 * len(expected[1])


@pytest.mark.usefixtures("device")
def test_threads_search_at_once(sample: Any) -> None:
    collection, queries = sample
    device = OnDevice(collection)
    expected = [device.search(query, **LIMITS) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: device.search(query, **LIMITS), list(queries) * 3))
    assert all(same(a, b) for a, b in zip(found, expected * 3, strict=True))


def test_every_order_of_threads_gives_the_same_bits(sample: Any, emulation: Any) -> None:
    """A body that reads what another thread of its phase writes would differ."""
    from weft.kernels import _cuda_emulated as module

    collection, queries = sample
    device = OnDevice(collection)
    few = [query[:33] for query in queries[:3]] + [np.concatenate([queries[3], queries[4]])]
    allowed = [np.random.default_rng(1).random(collection.segments[0].n_passages) < 0.8]
    results = []
    for order in (module.Order.forward, module.Order.backward, module.Order.shuffled):
        emulation.order = order
        results.append(device.search_batch(few, allowed, **LIMITS))
    for other in results[1:]:
        assert all(same(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_search_is_one_graph(sample: Any, emulation: Any) -> None:
    """Every launch is recorded, once; a search is then one copy-free call and one wait."""
    collection, queries = sample
    device = OnDevice(collection)
    before = emulation.n_launches, emulation.n_recorded
    device.search(queries[0], **LIMITS)
    launches, recorded, calls = emulation.n_launches, emulation.n_recorded, emulation.n_calls
    assert launches - before[0] == recorded - before[1] > 0
    device.search(queries[1], **LIMITS)
    assert emulation.n_launches == launches
    assert emulation.n_calls - calls == 3  # choosing the device, running the graph, waiting


def test_segments_that_are_gone_give_their_memory_back(sample: Any, emulation: Any) -> None:
    collection, queries = sample
    before = emulation.used_bytes
    device = OnDevice(collection)
    device.search(queries[0], **LIMITS)
    held = sum(segment.device_bytes for segment in device.segments)
    used = emulation.used_bytes
    device.segments.clear()
    assert emulation.used_bytes == used - held
    del device
    assert emulation.used_bytes == before


@pytest.mark.parametrize("nprobe", [1, 400])
@pytest.mark.usefixtures("device")
def test_ties_go_to_the_lower_place(nprobe: int) -> None:
    generator = np.random.default_rng(9)
    collection = make_collection(generator, 300, 32, 4)
    codes = np.tile(np.arange(3), 3000)
    collection.segments.append(make_segment(generator, collection, [3] * 3000, codes=codes))
    segment = collection.segments[0]
    segment.residuals[:] = segment.residuals[0]
    segment.inverse_norms[:] = 90
    query = collection.centroids[:2] * np.float32(0.9)
    found = OnDevice(collection).search(query, nprobe=nprobe, n_candidates=100, n_rescored=50)
    assert found[1].tolist() == list(range(50))
