"""Arrays that kernels take, made small and valid; tests break them one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from weft import kernels


@pytest.fixture(params=kernels.targets())
def target(request: pytest.FixtureRequest) -> Any:
    """Each target of this machine in turn."""
    with kernels.use_target(request.param):
        yield request.param


def _codec(generator: np.random.Generator, dim: int, bits: int) -> dict[str, Any]:
    weights = np.sort(generator.normal(size=1 << bits)).astype(np.float32)
    return {
        "bucket_weights": weights,
        "bucket_cutoffs": ((weights[1:] + weights[:-1]) / 2).astype(np.float32),
        "inverse_norm_range": (0.01, 1.5),
    }


@pytest.fixture
def arguments() -> Callable[[str], dict[str, Any]]:
    """Valid arguments of each kernel, by its name; fresh at every call."""

    def make(name: str) -> dict[str, Any]:
        generator = np.random.default_rng(7)
        n, dim, n_centroids, nq, bits = 12, 9, 5, 3, 2
        floats = {
            key: generator.normal(size=shape).astype(np.float32)
            for key, shape in {
                "embeddings": (n, dim),
                "centroids": (n_centroids, dim),
                "query": (nq, dim),
                "scores": (n_centroids, nq),
            }.items()
        }
        tokens = {
            "codes": generator.integers(0, n_centroids, n).astype(np.uint16),
            "residuals": generator.integers(0, 256, (n, 3)).astype(np.uint8),
            "inverse_norms": generator.integers(0, 256, n).astype(np.uint8),
        }
        lists = {
            "probes": np.array([[4, 0], [4, 2]], dtype=np.uint32),
            "ivf_centroids": np.array([0, 2, 4], dtype=np.uint32),
            "ivf_offsets": np.array([0, 2, 3, 5], dtype=np.int64),
            "ivf_pids": np.array([0, 3, 1, 0, 2], dtype=np.uint32),
            "n_passages": 4,
            "allowed": np.array([1, 1, 0, 1], dtype=np.bool_),
        }
        passages = {
            "offsets": np.array([0, 4, 4, 9, 12], dtype=np.int64),
            "pids": np.array([3, 0, 1], dtype=np.uint32),
        }
        buckets = _codec(generator, dim, bits)
        everything = {**floats, **tokens, **lists, **passages, **buckets, "threads": 1, "k": 2}
        everything |= {"nprobe": 2, "threshold": 0.1, "bits": bits, "dim": dim, "block_bytes": 5}
        everything["bucket_codes"] = generator.integers(0, 4, (n, dim)).astype(np.uint8)
        everything["packed"] = tokens["residuals"]
        everything["cell_centroids"] = floats["centroids"][:2].copy()
        everything["cell_offsets"] = np.array([0, 2, 5], dtype=np.int64)
        everything |= {"probes": 2} if name == "assign_cells" else {}
        everything |= {"rows": floats["embeddings"], "groups": tokens["codes"], "n_groups": 5}
        everything["buffer"] = generator.integers(0, 256, 23).astype(np.uint8)
        if name == "topk":
            everything["scores"] = floats["scores"][:, 0].copy()
        return {key: everything[key] for key in PARAMETERS[name]}

    return make


PARAMETERS: dict[str, tuple[str, ...]] = {
    "centroid_scores": ("centroids", "query", "threads"),
    "top_centroids": ("scores", "nprobe"),
    "candidates": (
        "probes",
        "ivf_centroids",
        "ivf_offsets",
        "ivf_pids",
        "n_passages",
        "allowed",
    ),
    "centroid_interaction": ("scores", "codes", "offsets", "pids", "threshold", "threads"),
    "maxsim": ("query", "embeddings", "offsets", "pids", "threads"),
    "maxsim_residual": (
        "query",
        "scores",
        "codes",
        "residuals",
        "inverse_norms",
        "bucket_weights",
        "inverse_norm_range",
        "offsets",
        "pids",
        "threads",
    ),
    "topk": ("scores", "k"),
    "assign": ("embeddings", "centroids", "threads"),
    "assign_cells": (
        "embeddings",
        "centroids",
        "cell_centroids",
        "cell_offsets",
        "probes",
        "threads",
    ),
    "sum_rows": ("rows", "groups", "n_groups", "threads"),
    "squared_lengths": ("rows", "threads"),
    "pack": ("bucket_codes", "bits"),
    "unpack": ("packed", "bits", "dim"),
    "compress": (
        "embeddings",
        "centroids",
        "codes",
        "bucket_cutoffs",
        "bucket_weights",
        "inverse_norm_range",
        "threads",
    ),
    "decompress": (
        "codes",
        "residuals",
        "inverse_norms",
        "centroids",
        "bucket_weights",
        "inverse_norm_range",
        "threads",
    ),
    "crc32c": ("buffer", "block_bytes"),
}
