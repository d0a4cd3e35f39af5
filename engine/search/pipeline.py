"""Ranks the passages of a snapshot for one query: flat segments exactly, coded ones by PLAID."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from .. import limits
from ..errors import CorruptIndexError, DimensionMismatchError, InvalidQueryError
from .byte_search import MAX_QUERY_EMBEDDINGS, byte_search
from .device import Searcher, Together
from .plan import SearchPlan
from .ranking import Ranking, best, best_documents, concatenate, scored
from .segments import Mask, SearchableSegment, refusals_of, wanted_passages
from .shortlist import CodedPool, all_pids

FloatArray = NDArray[np.float32]

FEW: Final = 64
"""Passages that are scored in float32 as quickly as in bytes."""


def rank(
    query: FloatArray,
    segments: Sequence[SearchableSegment],
    plan: SearchPlan,
    allowed: Sequence[Mask | None] | None = None,
) -> Ranking:
    """Find the k best documents or passages for a query.

    Flat segments are scored exactly. Coded ones go through a search in bytes or the four PLAID
    stages, those of each codec as a pool with a shortlist of its own: centroid scores under two
    codecs cannot be compared, scores on reconstructed vectors can. Where `plan.exact` is set, or
    few passages of a pool may be found (after tombstones and filter), it is scored whole on its
    reconstructed vectors. Where a shortlist yields fewer than k, it is widened until it holds k
    or everything.

    Args:
        query: float32 [nq, dim], finite.
        segments: of one snapshot.
        plan: from `make_plan`.
        allowed: per segment bool [n_passages] (what a filter lets through) or None for all;
            None lets everything through.

    Returns:
        Best first, ties by segment and pid: k rows (with `group_by="document"` one passage per
        document) and those that score exactly as the last of them, for the caller to order;
        fewer where no more may be found.

    Raises:
        InvalidQueryError: the query has no rows, too many, or NaN or infinity in them.
        DimensionMismatchError: the query has another dim than the segments.
        CorruptIndexError: a segment's data is damaged, or its codec is missing.

    Source: Santhanam et al. 2022 (PLAID), section 4.
    """
    query = checked_query(query, [segment.dim for segment in segments])
    return rank_checked(query, segments, plan, allowed)


def rank_checked(
    query: FloatArray,
    segments: Sequence[SearchableSegment],
    plan: SearchPlan,
    allowed: Sequence[Mask | None] | None = None,
) -> Ranking:
    """`rank` for a query that was checked: contiguous, finite and of the segments' dim."""
    wanted = wanted_passages(segments, allowed)
    flat = [
        _score_flat(number, segment, wanted[number], query, plan.threads)
        for number, segment in enumerate(segments)
        if segment.kind == "flat"
    ]
    pools = _make_pools(segments, wanted, query, plan)
    coded = [_search_pool(pool, segments, plan) for pool in pools]
    if len(coded) == 1 and not flat:
        return coded[0]
    return _select(_merge([*flat, *coded]), segments, plan)[0]


def search_together(
    queries: Sequence[FloatArray],
    segments: Sequence[SearchableSegment],
    plan: SearchPlan,
    allowed: Sequence[Mask | None] | None = None,
) -> Searcher | None:
    """Let a device find the shortlists of several queries at once.

    Args:
        queries: float32 [nq, dim] each, finite: the arrays that `rank` is called with next.
        segments, plan, allowed: as `rank` takes them.

    Returns:
        What the plan's device should be then; None without one.
    """
    if plan.device is None or plan.exact or plan.algorithm != "weft" or len(queries) < 2:
        return plan.device
    wanted = wanted_passages(segments, allowed)
    some = [query for query in queries if len(query) <= MAX_QUERY_EMBEDDINGS]
    pools = zip(*(_make_pools(segments, wanted, query, plan) for query in some), strict=True)
    many = [same for same in pools if same[0].n_wanted > FEW]
    return Together.of(plan.device, many, (plan.nprobe, plan.ndocs, plan.n_rescored))


def _search_pool(
    pool: CodedPool, segments: Sequence[SearchableSegment], plan: SearchPlan
) -> Ranking:
    """The best of a pool: of a shortlist, widened until it gives what the plan asks for."""
    nprobe, ndocs, n_rescored = plan.nprobe, plan.ndocs, plan.n_rescored
    n_wanted = pool.n_wanted
    in_bytes = byte_search(pool)
    # Where so few may be found, float32 is quick enough.
    n_few = ndocs if in_bytes is None else FEW
    while not plan.exact and n_wanted > n_few:
        if in_bytes is None:
            passages = pool.rescore(pool.shortlist(nprobe, ndocs, n_rescored))
        else:
            passages = in_bytes.shortlist(nprobe, ndocs, n_rescored)
        selected, enough = _select(passages, segments, plan)
        if enough or len(passages) == n_wanted:
            return selected
        nprobe, ndocs, n_rescored = 2 * nprobe, 2 * ndocs, 2 * n_rescored
        n_few = ndocs if in_bytes is None else FEW
    return _select(pool.everything(), segments, plan)[0]


def _merge(parts: list[Ranking]) -> Ranking:
    """The parts in one order that decides between equals: by segment, then by pid."""
    merged = concatenate(parts)
    return merged.take(np.argsort(merged.segment, kind="stable"))


def _select(
    passages: Ranking, segments: Sequence[SearchableSegment], plan: SearchPlan
) -> tuple[Ranking, bool]:
    """The k best as the plan groups them, and whether there are k."""
    if plan.group_by == "document":
        return best_documents(passages, plan.k, segments)
    return best(passages, plan.k), len(passages) >= plan.k


def _score_flat(
    number: int, segment: SearchableSegment, wanted: Mask | None, query: FloatArray, threads: int
) -> Ranking:
    pids = all_pids(segment, wanted)
    starts, ends = segment.offsets[pids], segment.offsets[pids.astype(np.int64) + 1]
    segment.touch("embeddings", starts, ends)
    with refusals_of(segment):
        scores = kernels.maxsim(
            query, segment.embeddings, segment.offsets, pids=pids, threads=threads
        )
    return scored(number, pids, scores)


def _make_pools(
    segments: Sequence[SearchableSegment],
    wanted: Sequence[Mask | None],
    query: FloatArray,
    plan: SearchPlan,
) -> list[CodedPool]:
    """The coded segments, one pool for each codec that they are read with."""
    pools: dict[int, CodedPool] = {}
    for number, segment in enumerate(segments):
        if segment.kind == "flat":
            continue
        codec = segment.codec
        if codec is None:
            raise CorruptIndexError(
                "A segment is compressed but the index names no codec for it: restore its "
                "manifest from a copy."
            )
        if id(codec) not in pools:
            pools[id(codec)] = CodedPool({}, {}, codec, query, plan)
        pools[id(codec)].segments[number] = segment
        pools[id(codec)].wanted[number] = wanted[number]
    return list(pools.values())


def checked_query(query: FloatArray, dims: Sequence[int]) -> FloatArray:
    """The query as kernels take it, contiguous float32 [nq, dim].

    Args:
        query: float [nq, dim].
        dims: of what is searched.

    Raises:
        InvalidQueryError, DimensionMismatchError: as `rank`.
    """
    if query.ndim != 2 or not 1 <= len(query) <= limits.MAX_QUERY_EMBEDDINGS:
        raise InvalidQueryError(
            f"The query has shape {query.shape}: pass [n, dim] with n from 1 to "
            f"{limits.MAX_QUERY_EMBEDDINGS:,}."
        )
    query = np.ascontiguousarray(query, dtype=np.float32)
    if not _is_finite(query):
        raise InvalidQueryError("The query's vectors hold NaN or infinity: check its encoder.")
    for dim in dims:
        if query.shape[1] != dim:
            raise DimensionMismatchError(
                f"The query has dim {query.shape[1]}, the index {dim}: "
                "use the encoder that made the index."
            )
    return query


def _is_finite(query: FloatArray) -> bool:
    """Whether there is neither NaN nor infinity; in doubt each number is looked at."""
    if query.flags.aligned:
        together = sum(kernels.squared_lengths(query, threads=1).tolist())
        if math.isfinite(together):
            return True
    return bool(np.isfinite(query).all())
