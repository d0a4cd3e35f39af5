"""The PLAID stages over the coded segments of one epoch, as one pool of passages.

Kernels work segment by segment; the cuts between the stages are made over all segments, since
scores under one codec are comparable. Source: Santhanam et al. 2022 (PLAID), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..codec import Codec
from .plan import SearchPlan
from .ranking import Ranking, concatenate, scored, top
from .segments import Mask, SearchableSegment, refusals_of

FloatArray = NDArray[np.float32]
Pids = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class CodedPool:
    """The coded segments of a snapshot, one query against them.

    Args:
        segments: by their position in the list that is searched.
        wanted: per position bool [n_passages], or None where every passage may be found.
        codec: that all these segments are read with: their own, or one whose first centroids are
            theirs.
        query: float32 [nq, dim].
        plan: nprobe, threshold and threads; ndocs and nprobe may be overridden per call.
    """

    segments: dict[int, SearchableSegment]
    wanted: dict[int, Mask | None]
    codec: Codec
    query: FloatArray
    plan: SearchPlan

    @cached_property
    def rotated_query(self) -> FloatArray:
        """float32 [nq, dim], the query as the codec's centroids and residuals stand."""
        rotated = self.codec.rotated(self.query, threads=self.plan.threads)
        return rotated.astype(np.float32, copy=False)

    @cached_property
    def scores(self) -> FloatArray:
        """float32 [K, nq], centroids times query."""
        return kernels.centroid_scores(
            self.codec.centroids, self.rotated_query, threads=self.plan.threads
        )

    @property
    def n_wanted(self) -> int:
        """Passages that may be found."""
        return sum(n_wanted(s, self.wanted[number]) for number, s in self.segments.items())

    def everything(self) -> Ranking:
        """Every passage that may be found, scored on its reconstructed vectors."""
        pids = {number: self._all_pids(number) for number in self.segments}
        return self.rescore(concatenate([scored(n, p, _zeros(p)) for n, p in pids.items()]))

    def shortlist(self, nprobe: int, ndocs: int, n_rescored: int) -> Ranking:
        """Stages 1 to 3: probe inverted lists, then cut twice by centroid interaction.

        Args:
            nprobe: inverted lists per query vector.
            ndocs: passages kept by the pruned centroid interaction.
            n_rescored: passages kept by the full one.

        Returns:
            Candidates by segment and pid, with approximate scores.
        """
        pool = self.candidates(nprobe)
        threshold = self.plan.centroid_score_threshold
        if threshold is not None:
            # A passage of which all tokens were pruned scores -inf: it only fills the list up.
            pool = _keep(self.interact(pool, threshold), max(ndocs, n_rescored))
        return _keep(self.interact(pool, None), n_rescored)

    def candidates(self, nprobe: int) -> Ranking:
        """Stage 1: all passages in the inverted lists of each query vector's best centroids.

        The best are those among the centroids that a segment was made with: appended ones would
        take the place of those that its passages stand by.
        """
        probes: dict[int, Pids] = {}
        parts = []
        for number, segment in self.segments.items():
            n_centroids = segment.n_centroids
            if n_centroids not in probes:
                scores = self.scores[:n_centroids]
                probes[n_centroids] = np.unique(kernels.top_centroids(scores, nprobe))
            pids = self._probe(number, probes[n_centroids])
            parts.append(scored(number, pids, _zeros(pids)))
        return concatenate(parts)

    def interact(self, pool: Ranking, threshold: float | None) -> Ranking:
        """Stages 2 and 3: MaxSim with each token's vector replaced by its centroid."""
        parts = []
        for number, pids in self._by_segment(pool):
            segment = self.segments[number]
            _touch(segment, pids, "codes")
            with refusals_of(segment):
                scores = kernels.centroid_interaction(
                    self.scores,
                    segment.codes,
                    segment.offsets,
                    pids,
                    threshold=threshold,
                    threads=self.plan.threads,
                )
            parts.append(scores)
        return _rescored(pool, parts)

    def rescore(self, pool: Ranking) -> Ranking:
        """Stage 4: MaxSim on the reconstructed vectors."""
        parts = []
        for number, pids in self._by_segment(pool):
            segment = self.segments[number]
            _touch(segment, pids, "codes", "residuals", "inverse_norms")
            with refusals_of(segment):
                scores = kernels.maxsim_residual(
                    self.rotated_query,
                    self.scores,
                    segment.codes,
                    segment.residuals,
                    segment.inverse_norms,
                    self.codec.bucket_weights,
                    self.codec.inverse_norm_range,
                    segment.offsets,
                    pids=pids,
                    threads=self.plan.threads,
                )
            parts.append(scores)
        return _rescored(pool, parts)

    def _all_pids(self, number: int) -> Pids:
        return all_pids(self.segments[number], self.wanted[number])

    def _probe(self, number: int, probes: Pids) -> Pids:
        segment = self.segments[number]
        if len(probes) == segment.n_centroids:
            return self._all_pids(number)
        _touch_lists(segment, probes)
        with refusals_of(segment):
            return kernels.candidates(
                probes,
                segment.ivf_centroids,
                segment.ivf_offsets,
                segment.ivf_pids,
                segment.n_passages,
                allowed=self.wanted[number],
            )

    def _by_segment(self, pool: Ranking) -> list[tuple[int, Pids]]:
        """The pool's pids per segment; pools are ordered by segment, then by pid."""
        parts = []
        for number in self.segments:
            low, high = np.searchsorted(pool.segment, [number, number + 1])
            if low < high:
                parts.append((number, pool.pid[low:high]))
        return parts


def n_wanted(segment: SearchableSegment, wanted: Mask | None) -> int:
    """How many passages may be found."""
    return segment.n_passages if wanted is None else int(np.count_nonzero(wanted))


def all_pids(segment: SearchableSegment, wanted: Mask | None) -> Pids:
    """The pids that may be found, ascending."""
    if wanted is None:
        return np.arange(segment.n_passages, dtype=np.uint32)
    return np.flatnonzero(wanted).astype(np.uint32)


def _zeros(pids: Pids) -> FloatArray:
    return np.zeros(len(pids), dtype=np.float32)


def _rescored(pool: Ranking, parts: list[FloatArray]) -> Ranking:
    scores = np.concatenate(parts) if parts else pool.score
    return Ranking(pool.segment, pool.pid, scores)


def _keep(pool: Ranking, n: int) -> Ranking:
    """The n best, back in the order of segment and pid, which also decides between equals."""
    if len(pool) <= n:
        return pool
    return pool.take(np.sort(top(pool.score, n)))


def _touch(segment: SearchableSegment, pids: Pids, *names: str) -> None:
    starts, ends = segment.offsets[pids], segment.offsets[pids.astype(np.int64) + 1]
    for name in names:
        segment.touch(name, starts, ends)


def _touch_lists(segment: SearchableSegment, probes: Pids) -> None:
    lists = probes.astype(np.int64)
    if segment.ivf_centroids is not None:
        lists = np.flatnonzero(np.isin(segment.ivf_centroids, probes))
    starts, ends = segment.ivf_offsets[lists], segment.ivf_offsets[lists + 1]
    segment.touch("ivf_pids", starts, ends)
