"""Residual compression: nearest centroid, bucket codes, packing, and the way back.

Types, errors and `threads` are as in `weft.kernels.scoring`.
"""

from __future__ import annotations

from .arrays import F32, U8, U32, Codes, Range
from .dispatch import backend


def assign(embeddings: F32, centroids: F32, *, threads: int = 0) -> tuple[U32, F32]:
    """Give each embedding the number of the centroid with the highest dot product.

    Args:
        embeddings: float32 [n, dim], finite.
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
    embeddings: F32,
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
        embeddings: float32 [n, dim], finite.
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
