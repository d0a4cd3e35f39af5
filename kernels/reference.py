"""A NumPy oracle for every kernel, written for reading.

Each function takes and returns what the function of the same name in `weft.kernels` does and
makes the same checks; the contract stands there. It is what the native targets are tested
against, and what runs, slowly, where the native module is missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import (
    BITS,
    F32,
    I64,
    MAX_DIM,
    U8,
    U32,
    Codes,
    Embeddings,
    Mask,
    Range,
    inverse_norm_values,
    passage_slices,
    require_array,
    require_below,
    require_centroids,
    require_equal,
    require_finite,
    require_inverse_norm_range,
    require_query,
    require_range,
    require_scores,
    require_threads,
    require_vectors,
    require_weights,
)
from .reference_clusters import CellIndex as CellIndex
from .reference_clusters import assign as assign
from .reference_clusters import assign_cells as assign_cells
from .reference_clusters import squared_lengths as squared_lengths
from .reference_clusters import sum_rows as sum_rows


def centroid_scores(centroids: F32, query: F32, *, threads: int = 0) -> F32:
    """C·Qᵀ: row k holds the dot products of centroid k with each query vector."""
    require_vectors("centroids", centroids)
    require_query(query)
    require_equal("query", query.shape[1], centroids.shape[1], "components, as centroids have")
    require_threads(threads)
    return centroids @ query.T


def _best(scores: F32, k: int) -> U32:
    """Numbers of the k best scores; a stable sort puts the lower number first in a tie."""
    if np.isnan(scores).any():
        raise ValueError("scores: holds NaN")
    return np.argsort(-scores, kind="stable")[:k].astype(np.uint32)


def topk(scores: F32, k: int) -> U32:
    """The k best of a stable descending sort."""
    require_array("scores", scores, (np.float32,), 1)
    return _best(scores, require_range("k", k, 0, 2**32 - 1))


def top_centroids(scores: F32, nprobe: int) -> U32:
    """`topk` of each column."""
    require_scores(scores)
    nprobe = min(require_range("nprobe", nprobe, 0, 2**32 - 1), scores.shape[0])
    best = [_best(column, nprobe) for column in scores.T]
    return np.array(best, dtype=np.uint32).reshape(scores.shape[1], nprobe)


def _inverted_list(number: int, offsets: I64, pids: U32) -> U32:
    """The pids of one inverted list."""
    start, end = int(offsets[number]), int(offsets[number + 1])
    if not 0 <= start <= end <= pids.size:
        raise ValueError(f"ivf_offsets: list {number} is [{start}, {end}) of {pids.size} pids")
    return pids[start:end]


def _list_numbers(probes: U32, ivf_centroids: U32 | None, n_lists: int) -> NDArray[Any]:
    """Which inverted lists the probed centroids have."""
    wanted = np.unique(probes)
    if ivf_centroids is None:
        require_below("probes", wanted, n_lists)
        return wanted
    require_array("ivf_centroids", ivf_centroids, (np.uint32,), 1)
    require_equal("ivf_centroids", ivf_centroids.size, n_lists, "numbers, one per inverted list")
    if (ivf_centroids[1:] <= ivf_centroids[:-1]).any():
        raise ValueError("ivf_centroids: must be strictly increasing")
    return np.flatnonzero(np.isin(ivf_centroids, wanted))


def candidates(
    probes: U32,
    ivf_centroids: U32 | None,
    ivf_offsets: I64,
    ivf_pids: U32,
    n_passages: int,
    *,
    allowed: Mask | None = None,
) -> U32:
    """The sorted union of the probed inverted lists, less what is not allowed."""
    if not isinstance(probes, np.ndarray) or probes.dtype != np.uint32:
        raise TypeError("probes: expected a NumPy array of dtype uint32")
    require_array("probes", probes, (np.uint32,), probes.ndim)
    require_array("ivf_offsets", ivf_offsets, (np.int64,), 1)
    require_array("ivf_pids", ivf_pids, (np.uint32,), 1)
    if ivf_offsets.size < 1:
        raise ValueError("ivf_offsets: expected at least one")
    n_passages = require_range("n_passages", n_passages, 0, 2**32 - 1)
    if allowed is not None:
        require_array("allowed", allowed, (np.bool_, np.uint8), 1)
        require_equal("allowed", allowed.size, n_passages, "flags, one per passage")
    found = np.zeros(n_passages, dtype=np.bool_)
    for number in _list_numbers(probes, ivf_centroids, ivf_offsets.size - 1):
        pids = _inverted_list(int(number), ivf_offsets, ivf_pids)
        require_below("ivf_pids", pids, n_passages)
        found[pids] = True
    return np.flatnonzero(found if allowed is None else found & (allowed != 0)).astype(np.uint32)


def _sum_of_maxima(token_scores: F32) -> float:
    """MaxSim of one passage from scores [tokens, nq]; NaN never is a best match."""
    maxima = np.fmax.reduce(token_scores, axis=0, initial=-np.inf)
    return float(maxima.sum(dtype=np.float64))


def centroid_interaction(
    scores: F32,
    codes: Codes,
    offsets: I64,
    pids: U32,
    *,
    threshold: float | None = None,
    threads: int = 0,
) -> F32:
    """MaxSim with each token's scores replaced by those of its centroid."""
    require_scores(scores)
    require_array("codes", codes, (np.uint16, np.uint32), 1)
    require_threads(threads)
    if threshold is not None and np.isnan(threshold):
        raise ValueError("threshold: is NaN")
    require_array("pids", pids, (np.uint32,), 1)
    kept = np.ones(scores.shape[0], dtype=np.bool_)
    if threshold is not None:
        kept = np.fmax.reduce(scores, axis=1, initial=-np.inf) >= np.float32(threshold)
    result = np.empty(pids.size, dtype=np.float32)
    for i, rows in enumerate(passage_slices(offsets, pids, codes.size)):
        require_below("codes", codes[rows], scores.shape[0])
        passage = codes[rows][kept[codes[rows]]]
        result[i] = _sum_of_maxima(scores[passage])
    return result


def maxsim(
    query: F32, embeddings: Embeddings, offsets: I64, *, pids: U32 | None = None, threads: int = 0
) -> F32:
    """Sum over query vectors of the highest dot product with any vector of the passage."""
    require_query(query)
    require_vectors("embeddings", embeddings, (np.float32, np.float16))
    require_equal("embeddings", embeddings.shape[1], query.shape[1], "components, as query has")
    require_threads(threads)
    passages = passage_slices(offsets, pids, embeddings.shape[0])
    scores = [_sum_of_maxima(embeddings[rows].astype(np.float32) @ query.T) for rows in passages]
    return np.array(scores, dtype=np.float32)


def _require_coded(codes: Codes, residuals: U8, inverse_norms: U8, bytes_per_row: int) -> None:
    """Raise unless the three arrays describe the same number of tokens."""
    require_array("codes", codes, (np.uint16, np.uint32), 1)
    require_array("residuals", residuals, (np.uint8,), 2)
    require_array("inverse_norms", inverse_norms, (np.uint8,), 1)
    require_equal("residuals", residuals.shape[0], codes.size, "rows, one per code")
    require_equal("residuals", residuals.shape[1], bytes_per_row, "bytes per row")
    require_equal("inverse_norms", inverse_norms.size, codes.size, "bytes, one per code")


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
    """MaxSim on reconstructed vectors: q·(centroid + weights), times the inverse norm."""
    require_query(query)
    require_scores(scores)
    require_equal("scores", scores.shape[1], query.shape[0], "columns, one per query vector")
    bits, dim = require_weights(bucket_weights), query.shape[1]
    _require_coded(codes, residuals, inverse_norms, bytes_per_row(dim, bits))
    values = inverse_norm_values(inverse_norm_range)
    require_threads(threads)
    passages = passage_slices(offsets, pids, codes.size)
    result = np.empty(len(passages), dtype=np.float32)
    for i, rows in enumerate(passages):
        require_below("codes", codes[rows], scores.shape[0])
        weights = bucket_weights[unpack(residuals[rows], bits, dim)]
        token_scores = scores[codes[rows]] + weights @ query.T
        result[i] = _sum_of_maxima(token_scores * values[inverse_norms[rows], None])
    return result


def bytes_per_row(dim: int, bits: int) -> int:
    """Bytes of one packed residual: `ceil(dim * bits / 8)`."""
    return (dim * bits + 7) // 8


def _require_bits(bits: int) -> None:
    """Raise unless the packing knows that width."""
    if bits not in BITS:
        raise ValueError(f"bits: must be 1, 2, 4 or 8, got {bits}")


def pack(bucket_codes: U8, bits: int) -> U8:
    """Write the low `bits` bits of each code, least significant first."""
    require_array("bucket_codes", bucket_codes, (np.uint8,), 2)
    require_range("bucket_codes", bucket_codes.shape[1], 1, MAX_DIM)
    _require_bits(bits)
    require_below("bucket_codes", bucket_codes, 1 << bits)
    n, dim = bucket_codes.shape
    bit_rows = (bucket_codes[:, :, None] >> np.arange(bits, dtype=np.uint8)) & 1
    packed = np.packbits(bit_rows.reshape(n, dim * bits), axis=1, bitorder="little")
    return np.ascontiguousarray(packed, dtype=np.uint8)


def unpack(packed: U8, bits: int, dim: int) -> U8:
    """The inverse of `pack`."""
    require_array("packed", packed, (np.uint8,), 2)
    _require_bits(bits)
    dim = require_range("dim", dim, 1, MAX_DIM)
    require_equal("packed", packed.shape[1], bytes_per_row(dim, bits), "bytes per row")
    flat = np.unpackbits(packed, axis=1, count=dim * bits, bitorder="little")
    powers = 1 << np.arange(bits, dtype=np.uint8)
    codes = (flat.reshape(packed.shape[0], dim, bits) * powers).sum(axis=2, dtype=np.uint8)
    return np.ascontiguousarray(codes, dtype=np.uint8)


def compress(
    embeddings: Embeddings,
    centroids: F32,
    codes: Codes,
    bucket_cutoffs: F32,
    bucket_weights: F32,
    inverse_norm_range: Range,
    *,
    threads: int = 0,
) -> tuple[U8, U8]:
    """Bucket of each residual component, and 1/‖centroid + weights‖ in one byte."""
    require_vectors("embeddings", embeddings, (np.float32, np.float16))
    embeddings = embeddings.astype(np.float32)
    require_centroids(centroids, embeddings.shape[1])
    require_finite("embeddings", embeddings)
    require_array("codes", codes, (np.uint16, np.uint32), 1)
    require_equal("codes", codes.size, embeddings.shape[0], "codes, one per embedding")
    require_below("codes", codes, centroids.shape[0])
    bits = require_weights(bucket_weights)
    _require_cutoffs(bucket_cutoffs, bits)
    require_threads(threads)
    nearest = centroids[codes]
    with np.errstate(over="ignore", invalid="ignore"):
        places = np.searchsorted(bucket_cutoffs, embeddings - nearest, side="right")
    buckets: U8 = places.astype(np.uint8)
    restored = (nearest + bucket_weights[buckets]).astype(np.float64)
    return pack(buckets, bits), _inverse_norm_bytes(restored, inverse_norm_range)


def _require_cutoffs(bucket_cutoffs: F32, bits: int) -> None:
    """Raise unless there is one cutoff between each two buckets, in ascending order."""
    require_array("bucket_cutoffs", bucket_cutoffs, (np.float32,), 1)
    require_equal("bucket_cutoffs", bucket_cutoffs.size, (1 << bits) - 1, "cutoffs")
    require_finite("bucket_cutoffs", bucket_cutoffs)
    if (bucket_cutoffs[1:] < bucket_cutoffs[:-1]).any():
        raise ValueError("bucket_cutoffs: must not decrease")


def _inverse_norm_bytes(restored: NDArray[np.float64], inverse_norm_range: Range) -> U8:
    """1/‖row‖ as a byte: its place in the range, rounded to the nearest even, clipped."""
    low, high = require_inverse_norm_range(inverse_norm_range)
    norms = np.sqrt((restored * restored).sum(axis=1))
    if not np.isfinite(norms).all():
        raise ValueError("centroids: a row of a code holds NaN, infinity or overflows")
    if low == high:
        return np.zeros(restored.shape[0], dtype=np.uint8)
    with np.errstate(divide="ignore"):
        inverse = 1.0 / norms
    place = (inverse - low) / (high - low) * 255.0
    result: U8 = np.clip(np.rint(place), 0, 255).astype(np.uint8)
    return result


def decompress(
    codes: Codes,
    residuals: U8,
    inverse_norms: U8,
    centroids: F32,
    bucket_weights: F32,
    inverse_norm_range: Range,
    *,
    threads: int = 0,
) -> F32:
    """(centroid + weights) times the inverse norm."""
    require_vectors("centroids", centroids)
    bits, dim = require_weights(bucket_weights), centroids.shape[1]
    _require_coded(codes, residuals, inverse_norms, bytes_per_row(dim, bits))
    require_below("codes", codes, centroids.shape[0])
    values = inverse_norm_values(inverse_norm_range)
    require_threads(threads)
    weights = bucket_weights[unpack(residuals, bits, dim)]
    return (centroids[codes] + weights) * values[inverse_norms, None]


def _crc32c_table() -> list[int]:
    """The CRC of each single byte, by long division with the reversed Castagnoli polynomial."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(buffer: U8, block_bytes: int = 65536) -> U32:
    """One byte at a time through a table of 256 (Castagnoli et al. 1993)."""
    require_array("buffer", buffer, (np.uint8,), 1)
    block_bytes = require_range("block_bytes", block_bytes, 1, 2**62)
    table, checksums = _crc32c_table(), []
    for start in range(0, buffer.size, block_bytes):
        state = 0xFFFFFFFF
        for byte in buffer[start : start + block_bytes].tobytes():
            state = (state >> 8) ^ table[(state ^ byte) & 0xFF]
        checksums.append(state ^ 0xFFFFFFFF)
    return np.array(checksums, dtype=np.uint32)
