"""The stages of a search: centroid scores, candidates, centroid interaction, MaxSim, top k.

Everywhere: arrays are C-contiguous NumPy arrays; `TypeError` names an argument of another type
or dtype, `ValueError` one of another shape or with a value outside its range; `threads` is 0 for
the default, else 1 to 256, and never changes a bit of the result. A score that is NaN never is a
best match. Passage p is the rows `offsets[p]` to `offsets[p + 1]` of the arrays of tokens; only
visited passages have their offsets and codes checked.
"""

from __future__ import annotations

from .arrays import F32, I64, U8, U32, Codes, Embeddings, Mask, Range
from .dispatch import backend


def centroid_scores(centroids: F32, query: F32, *, threads: int = 0) -> F32:
    """Score every centroid against every query vector.

    Args:
        centroids: float32 [K, dim].
        query: float32 [nq, dim], finite, nq at least 1.
        threads: see above.

    Returns:
        float32 [K, nq]: dot products, one row per centroid.

    Source: Santhanam et al. 2022 (PLAID), section 4.1, S_cq = C·Qᵀ.
    """
    result: F32 = backend().centroid_scores(centroids, query, threads=threads)
    return result


def top_centroids(scores: F32, nprobe: int) -> U32:
    """Choose the centroids to probe for each query vector.

    Args:
        scores: float32 [K, nq], no NaN, nq at most 2^20.
        nprobe: how many; more than K means K.

    Returns:
        uint32 [nq, min(nprobe, K)]: best first, the lower number first in a tie.
    """
    result: U32 = backend().top_centroids(scores, nprobe)
    return result


def candidates(
    probes: U32,
    ivf_centroids: U32 | None,
    ivf_offsets: I64,
    ivf_pids: U32,
    n_passages: int,
    *,
    allowed: Mask | None = None,
) -> U32:
    """Gather the passages of the probed inverted lists.

    Args:
        probes: uint32 of any shape: centroid numbers, repeats allowed.
        ivf_centroids: uint32 [m], strictly increasing: the centroid of each inverted list;
            None where there is one list for every centroid.
        ivf_offsets: int64 [m + 1]: list i is `ivf_pids[ivf_offsets[i]:ivf_offsets[i + 1]]`.
        ivf_pids: uint32 [p], below n_passages.
        n_passages: passages of the segment.
        allowed: bool or uint8 [n_passages]: passages that may be found; None means all.

    Returns:
        uint32 [c]: pids, ascending, each once.

    Source: Santhanam et al. 2022 (PLAID), section 4.1.
    """
    result: U32 = backend().candidates(
        probes, ivf_centroids, ivf_offsets, ivf_pids, n_passages, allowed=allowed
    )
    return result


def centroid_interaction(
    scores: F32,
    codes: Codes,
    offsets: I64,
    pids: U32,
    *,
    threshold: float | None = None,
    threads: int = 0,
) -> F32:
    """Approximate MaxSim, each token's vector replaced by its centroid.

    Args:
        scores: float32 [K, nq], nq at most 2^20, of `centroid_scores`.
        codes: uint16 or uint32 [n], below K.
        offsets: int64 [P + 1].
        pids: uint32 [c], below P.
        threshold: only tokens whose centroid scores at least this with some query vector take
            part; None means all tokens.
        threads: see above.

    Returns:
        float32 [c]: -inf where no token takes part.

    Source: Santhanam et al. 2022 (PLAID), sections 4.2 and 4.3.
    """
    result: F32 = backend().centroid_interaction(
        scores, codes, offsets, pids, threshold=threshold, threads=threads
    )
    return result


def maxsim(
    query: F32, embeddings: Embeddings, offsets: I64, *, pids: U32 | None = None, threads: int = 0
) -> F32:
    """Exact MaxSim: for each query vector the best dot product in the passage, summed.

    Args:
        query: float32 [nq, dim], finite, nq at least 1.
        embeddings: float32 or float16 [n, dim].
        offsets: int64 [P + 1].
        pids: uint32 [c], below P; None means all passages in order.
        threads: see above.

    Returns:
        float32 [c or P]: not clamped at 0; -inf for a passage without tokens.

    Source: Khattab and Zaharia 2020 (ColBERT), section 3.3.
    """
    result: F32 = backend().maxsim(query, embeddings, offsets, pids=pids, threads=threads)
    return result


def maxsim_residual(
    query: F32,
    scores: F32,
    codes: Codes,
    residuals: U8,
    inverse_norms: U8,
    bucket_weights: F32,
    inverse_norm_range: Range,
    offsets: I64,
    *,
    pids: U32 | None = None,
    threads: int = 0,
) -> F32:
    """MaxSim on vectors reconstructed from centroid, residual and inverse norm.

    A token's score is `(scores[code] + query · weights) * inverse norm`: the centroid's share is
    looked up, never computed again.

    Args:
        query: float32 [nq, dim], finite, nq at least 1.
        scores: float32 [K, nq], nq at most 2^20, of `centroid_scores` for this query.
        codes: uint16 or uint32 [n], below K.
        residuals: uint8 [n, ceil(dim * bits / 8)] of `compress`.
        inverse_norms: uint8 [n] of `compress`.
        bucket_weights: float32 [2^bits], bits 1, 2, 4 or 8.
        inverse_norm_range: what bytes 0 and 255 of `inverse_norms` stand for.
        offsets: int64 [P + 1].
        pids: uint32 [c], below P; None means all passages in order.
        threads: see above.

    Returns:
        float32 [c or P]: -inf for a passage without tokens.

    Source: Santhanam et al. 2022 (PLAID), section 4.4.
    """
    result: F32 = backend().maxsim_residual(
        query,
        scores,
        codes,
        residuals,
        inverse_norms,
        bucket_weights,
        inverse_norm_range,
        offsets,
        pids=pids,
        threads=threads,
    )
    return result


def topk(scores: F32, k: int) -> U32:
    """Choose the k best scores.

    Args:
        scores: float32 [n], no NaN.
        k: how many; more than n means n.

    Returns:
        uint32 [min(k, n)]: indices, best first, the lower index first in a tie.
    """
    result: U32 = backend().topk(scores, k)
    return result
