"""Residual compression: nearest centroid, bucket codes, packing, and the way back.

Types, errors and `threads` are as in `weft.kernels.scoring`.
"""

from __future__ import annotations

from .arrays import F32, I64, U8, U32, Codes, Embeddings, Range
from .dispatch import backend


def assign(embeddings: Embeddings, centroids: F32, *, threads: int = 0) -> tuple[U32, F32]:
    """Give each embedding the number of the centroid with the highest dot product.

    Args:
        embeddings: float32 or float16 [n, dim], finite.
        centroids: float32 [K, dim], K at least 1; a NaN never wins.
        threads: 0 for the default.

    Returns:
        uint32 [n] codes, the lower number in a tie, and float32 [n] dot products. The n x K
        matrix is never stored.

    Raises:
        ValueError: also where an embedding has no finite best score.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3.
    """
    result: tuple[U32, F32] = backend().assign(embeddings, centroids, threads=threads)
    return result


def assign_cells(
    embeddings: Embeddings,
    centroids: F32,
    cell_centroids: F32,
    cell_offsets: I64,
    *,
    probes: int,
    threads: int = 0,
) -> tuple[U32, F32]:
    """Give each embedding the best centroid of its nearest cells.

    Cells and centroids are compared in bytes; where these leave room for doubt, the best two of
    each cell are compared once more in float32. The best found is worse than the best there is in
    these cells by at most what rounding to bytes can hide, and by nothing nearly always.

    Args:
        embeddings: float32 or float16 [n, dim], finite.
        centroids: float32 [K, dim], finite, K at least 1.
        cell_centroids: float32 [C, dim], finite, C at least 1.
        cell_offsets: int64 [C + 1]; cell c owns the centroids from `cell_offsets[c]` to
            `cell_offsets[c + 1]`, at least one.
        probes: cells searched per embedding, at least 1; more than C count as C.
        threads: 0 for the default.

    Returns:
        uint32 [n] codes, the lower number in a tie, and float32 [n] dot products. An embedding's
        result does not depend on its neighbours.

    Raises:
        ValueError: also where a product overflows.

    Source: Johnson et al. 2017 (faiss), inverted files with a coarse quantiser.
    """
    result: tuple[U32, F32] = backend().assign_cells(
        embeddings, centroids, cell_centroids, cell_offsets, probes=probes, threads=threads
    )
    return result


def sum_rows(rows: Embeddings, groups: Codes, n_groups: int, *, threads: int = 0) -> F32:
    """Sum the rows of each group: what moves centroids.

    Args:
        rows: float32 or float16 [n, dim].
        groups: uint16 or uint32 [n], below n_groups.
        n_groups: groups; one may be empty, its sum is 0.
        threads: 0 for the default.

    Returns:
        float32 [n_groups, dim]: summed in order of rows in float64, rounded once; the same bits
        on every target.
    """
    result: F32 = backend().sum_rows(rows, groups, n_groups, threads=threads)
    return result


def squared_lengths(rows: Embeddings, *, threads: int = 0) -> F32:
    """The squared length of each row.

    Args:
        rows: float32 or float16 [n, dim].
        threads: 0 for the default.

    Returns:
        float32 [n]; not finite where a row holds NaN or infinity, or overflows when squared.
    """
    result: F32 = backend().squared_lengths(rows, threads=threads)
    return result


def pack(bucket_codes: U8, bits: int) -> U8:
    """Pack bucket codes densely.

    Args:
        bucket_codes: uint8 [n, dim], below 2^bits, dim 1 to 4096.
        bits: 1, 2, 4 or 8.

    Returns:
        uint8 [n, ceil(dim * bits / 8)]: element d starts at bit `d * bits`, least significant
        bit first; rows end in zero bits.
    """
    result: U8 = backend().pack(bucket_codes, bits)
    return result


def unpack(packed: U8, bits: int, dim: int) -> U8:
    """Undo `pack`.

    Args:
        packed: uint8 [n, ceil(dim * bits / 8)].
        bits: 1, 2, 4 or 8.
        dim: elements per row, 1 to 4096.

    Returns:
        uint8 [n, dim]; the padding bits are not looked at.
    """
    result: U8 = backend().unpack(packed, bits, dim)
    return result


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
    """Quantise what the centroids leave over.

    The bucket of a component is the number of cutoffs that its residual reaches; the inverse
    norm is `1 / ‖centroid + weights‖` as `round((x - lo) / (hi - lo) * 255)`, clipped.

    Args:
        embeddings: float32 or float16 [n, dim], finite.
        centroids: float32 [K, dim], finite where a code points.
        codes: uint16 or uint32 [n], below K.
        bucket_cutoffs: float32 [2^bits - 1], finite, ascending.
        bucket_weights: float32 [2^bits], bits 1, 2, 4 or 8.
        inverse_norm_range: what bytes 0 and 255 of the inverse norms stand for.
        threads: 0 for the default.

    Returns:
        uint8 [n, ceil(dim * bits / 8)] residuals and uint8 [n] inverse norms: the same bytes on
        every target.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3.
    """
    result: tuple[U8, U8] = backend().compress(
        embeddings,
        centroids,
        codes,
        bucket_cutoffs,
        bucket_weights,
        inverse_norm_range,
        threads=threads,
    )
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
    """Reconstruct embeddings: `(centroid + weights) * inverse norm`.

    Args:
        codes: uint16 or uint32 [n], below K.
        residuals: uint8 [n, ceil(dim * bits / 8)].
        inverse_norms: uint8 [n].
        centroids: float32 [K, dim].
        bucket_weights: float32 [2^bits], bits 1, 2, 4 or 8.
        inverse_norm_range: what bytes 0 and 255 of the inverse norms stand for.
        threads: 0 for the default.

    Returns:
        float32 [n, dim]: the same bits on every target.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3.
    """
    result: F32 = backend().decompress(
        codes,
        residuals,
        inverse_norms,
        centroids,
        bucket_weights,
        inverse_norm_range,
        threads=threads,
    )
    return result
