"""Devices for tests: the emulation on the host, and the GPU where there is one."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from coded_oracle import Collection

from weft import kernels
from weft.kernels import cuda_device, cuda_search

DEVICES = ["emulated", pytest.param("cuda", marks=pytest.mark.cuda)]
"""Where a test of kernels runs: on the host in every run, on a GPU with `-m cuda`."""


def module_of(name: str) -> ModuleType:
    """The native module of a device; skips the test where there is no GPU, and says why."""
    if name == "emulated":
        try:
            return importlib.import_module("weft.kernels._cuda_emulated")
        except ImportError as error:
            pytest.fail(f"{error}: build with -DWEFT_EMULATION=ON, as `make install` does")
    status = cuda_device.cuda_status()
    if not status.usable:
        pytest.skip(f"not run, no GPU: {status.reason}")
    return cuda_device.cuda_module()


def whole(collection: Collection) -> dict[str, int]:
    """Limits with which every passage is found that lists can find, and lists are looked into."""
    lengths = [np.diff(segment.offsets) for segment in collection.segments]
    n = max(int((np.concatenate(lengths) > 0).sum()), 1)
    return {"nprobe": len(collection.centroids), "n_candidates": n, "n_rescored": n, "n_exact": 0}


class OnDevice:
    """A collection on a device.

    Args:
        collection: codec and segments.
        residuals_on: as of `device_segment`.
    """

    def __init__(self, collection: Collection, residuals_on: cuda_search.Place = "auto") -> None:
        self.collection = collection
        self.codec = kernels.device_codec(
            collection.centroids, collection.weights, collection.norm_range
        )
        self.segments = [
            kernels.device_segment(*segment.arrays(), residuals_on=residuals_on)
            for segment in collection.segments
        ]

    def search(self, query: Any, allowed: Any = None, **limits: int) -> Any:
        """Search all segments, wholly unless limited."""
        masks = list(allowed) if allowed is not None else [None] * len(self.segments)
        return self.codec.search(query, self.segments, masks, **(whole(self.collection) | limits))

    def search_batch(self, queries: Any, allowed: Any = None, **limits: int) -> Any:
        """The same for several queries."""
        masks = list(allowed) if allowed is not None else [None] * len(self.segments)
        return self.codec.search_batch(
            queries, self.segments, masks, **(whole(self.collection) | limits)
        )


def on_host(collection: Collection, query: Any, allowed: Any = None, **limits: int) -> Any:
    """The search in bytes on the processor, with as many query levels as a device has."""
    with kernels.use_target("baseline"):
        return collection.search(query, allowed, **limits)


def clustered(
    generator: np.random.Generator,
    n_passages: int,
    n_centroids: int,
    dim: int,
    bits: int,
    *,
    topics: int = 40,
) -> tuple[Collection, Any]:
    """Passages whose tokens gather around topics, as real ones do, and queries drawn from them.

    Returns:
        A collection of one segment, and float32 [20, 32, dim] queries.
    """
    from coded_oracle import make_collection, make_segment

    collection = make_collection(generator, n_centroids, dim, bits)
    centres = generator.normal(size=(topics, dim))
    topic_of = np.argmax(collection.centroids @ centres.T, axis=1)
    members = [np.flatnonzero(topic_of == topic) for topic in range(topics)]
    members = [some if len(some) else np.arange(n_centroids) for some in members]
    lengths = generator.integers(20, 60, n_passages)
    own = generator.integers(0, topics, n_passages)
    codes = np.concatenate(
        [
            np.where(
                generator.random(length) < 0.7,
                generator.choice(members[topic], length),
                generator.integers(0, n_centroids, length),
            )
            for length, topic in zip(lengths, own, strict=True)
        ]
    )
    collection.segments.append(make_segment(generator, collection, lengths, codes=codes))
    segment = collection.segments[0]
    queries = np.empty((20, 32, dim), dtype=np.float32)
    for number in range(20):
        pid = int(generator.integers(n_passages))
        some = generator.integers(segment.offsets[pid], segment.offsets[pid + 1], 32)
        rows = collection.centroids[segment.codes[some]] + collection.weights[segment.buckets[some]]
        rows = rows + generator.normal(size=rows.shape) * 0.3 / np.sqrt(dim)
        queries[number] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return collection, queries
