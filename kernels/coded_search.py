"""Search over coded segments in one call, in bytes: what the engine asks for on every query.

Scores are computed on centroids, query and bucket weights rounded to bytes with a scale of their
own for each centroid and each query vector; the best may be scored once more in float32. The
stages one by one, in float32, stand in `scoring.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .arrays import F32, I64, U8, U32, Codes, Mask, Range
from .dispatch import backend


class CodedSegment(Protocol):
    """A segment's arrays, held for search; made by `coded_segment`."""


class SearchCodec(Protocol):
    """A codec prepared for search, with the working memory of its queries; safe for threads."""

    def search(
        self,
        query: F32,
        segments: list[CodedSegment],
        allowed: list[Mask | None],
        *,
        nprobe: int,
        n_candidates: int,
        n_rescored: int,
        n_exact: int,
        threads: int = 0,
    ) -> tuple[U32, U32, F32, I64]:
        """Find the passages with the highest MaxSim.

        Each query vector probes the inverted lists of its `nprobe` best centroids. A passage
        gains, for each query vector, what the best probed centroid that it holds scores above
        the worst probed one. The best `n_candidates` by that sum go through centroid
        interaction, the best `n_rescored` of these through MaxSim on residuals. Where no more
        than `n_candidates` passages may be found, all of them are candidates.

        Args:
            query: float32 [nq, dim], finite, nq 1 to 1,023.
            segments: of `coded_segment`, made with this codec or with its first centroids.
            allowed: per segment bool [n_passages], passages that may be found; None means all.
            nprobe: inverted lists per query vector.
            n_candidates: passages kept after accumulation.
            n_rescored: passages kept after centroid interaction.
            n_exact: of these, the best are scored once more in float32; all are then ordered by
                what they scored last.
            threads: 0 for the default, else 1 to 256; never changes a bit of the result.

        Returns:
            uint32 [m] positions in `segments`, uint32 [m] pids, float32 [m] scores, best first,
            ties by segment and pid, m at most `n_rescored`; and int64 [u, 3]: segment, first and
            end of the blocks that must be checked before the question is asked again. Where
            there are any, nothing was found.

        Source: accumulation over inverted lists with a value for what is missing follows
        Lee et al. 2023 (XTR) and Scheerer et al. 2025 (WARP); the stages after it are those of
        Santhanam et al. 2022 (PLAID).
        """


def search_codec(
    centroids: F32,
    bucket_weights: F32,
    inverse_norm_range: Range,
    *,
    cell_centroids: F32 | None = None,
    cell_offsets: I64 | None = None,
    rotation: F32 | None = None,
) -> SearchCodec | None:
    """Prepare a codec for search.

    Args:
        centroids: float32 [K, dim], finite, K at least 1.
        bucket_weights: float32 [2^bits], bits 1, 2, 4 or 8.
        inverse_norm_range: what bytes 0 and 255 of an inverse norm stand for.
        cell_centroids: float32 [C, dim], a coarse centroid for each cell of centroids. With more
            than 2^16 centroids each query vector is compared with the centroids of the cells
            nearest to it, those of others count in centroid interaction and in the first
            scores as their cell; None compares with all.
        cell_offsets: int64 [C + 1], with `cell_centroids`: cell c holds the centroids
            `cell_offsets[c]` to `cell_offsets[c + 1]`; from 0 to K.
        rotation: float32 [b, b], finite, b a divisor of dim: each query is rotated by it before
            it is compared with centroids, which are rotated already. With s = dim / b, block i of
            a query vector holds the components i, i + s, i + 2s and so on; its product with the
            rotation makes the components from i * b on. None leaves queries as they are.

    Returns:
        None where the native module is missing: search stage by stage then.
    """
    native = backend()
    if not hasattr(native, "SearchCodec"):
        return None
    codec: SearchCodec = native.SearchCodec(
        centroids, bucket_weights, inverse_norm_range, cell_centroids, cell_offsets, rotation
    )
    return codec


def coded_segment(
    codes: Codes,
    residuals: U8,
    inverse_norms: U8,
    ivf_centroids: U32 | None,
    ivf_offsets: I64,
    ivf_pids: U32,
    offsets: I64,
    n_centroids: int,
    *,
    unchecked: Mask | None = None,
    positions: Sequence[int] = (0, 0, 0, 0),
) -> CodedSegment:
    """Hold a segment's arrays for search; they are looked into, not copied.

    Args:
        codes: uint16 or uint32 [n], below n_centroids.
        residuals: uint8 [n, ceil(dim * bits / 8)].
        inverse_norms: uint8 [n].
        ivf_centroids: uint32 [m], strictly increasing; None where there is a list per centroid.
        ivf_offsets: int64 [m + 1] into `ivf_pids`.
        ivf_pids: uint32, below P.
        offsets: int64 [P + 1], a passage's first token.
        n_centroids: of the codec that the segment was made with.
        unchecked: bool, one per 65,536 bytes of the segment's file: True for those that must
            not be read yet; read again by every search. None: all may be read.
        positions: where codes, residuals, inverse_norms and ivf_pids start in that file.
    """
    segment: CodedSegment = backend().CodedSegment(
        codes,
        residuals,
        inverse_norms,
        ivf_centroids,
        ivf_offsets,
        ivf_pids,
        offsets,
        n_centroids,
        unchecked,
        list(positions),
    )
    return segment
