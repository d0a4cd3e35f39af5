"""Exact MaxSim in fp32 by PyTorch: the oracle, so it shares nothing with Weft's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
TOKENS_AT_ONCE = 1_000


def score_passages(queries: Array, lengths: Array, rows: Array, offsets: Array) -> Array:
    """Scores of several queries against several passages.

    Passages of the same length are scored together: a view then takes the place of padding.

    Args:
        queries: float32 [sum of lengths, dim], one query after the other.
        lengths: int64, number of vectors of each query; all the same.
        rows: float32 [tokens, dim] of the passages.
        offsets: int64 [passages + 1], into rows.

    Returns:
        float32 [queries, passages]: sum over query vectors of the highest dot product.

    Source: Khattab and Zaharia 2020 (ColBERT), section 3.3.
    """
    import torch

    n_vectors = int(lengths[0])
    if (lengths != n_vectors).any():
        raise ValueError("queries of one call must have the same number of vectors")
    tokens, right = torch.from_numpy(rows), torch.from_numpy(queries).T
    sizes = np.diff(offsets)
    out = np.empty((len(lengths), len(sizes)), dtype=np.float32)
    with torch.inference_mode():
        for size in np.unique(sizes).tolist():
            alike = np.flatnonzero(sizes == size)
            step = max(1, TOKENS_AT_ONCE // size)
            for some in np.split(alike, range(step, len(alike), step)):
                where = (offsets[some][:, None] + np.arange(size)).ravel()
                products = tokens[torch.from_numpy(where)] @ right
                best = products.view(len(some), size, len(lengths), n_vectors).amax(1)
                out[:, some] = best.sum(2).T.numpy()
    return out
