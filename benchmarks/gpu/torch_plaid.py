"""PLAID's four stages in plain torch on the device: what one writes in an afternoon.

Source: Santhanam et al. 2022 (PLAID), section 4; without the pruning by a threshold, which only
makes the first centroid interaction cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class TorchIndex:
    """An index on the device; passages have `tokens` tokens each.

    Args:
        centroids: float16 [K, dim].
        codes: int32 [P * tokens].
        residuals: uint8 [P * tokens, dim * bits / 8].
        weights: float16 [256, 8 / bits]: of a byte's codes.
        list_offsets, list_pids: inverted lists.
    """

    centroids: torch.Tensor
    codes: torch.Tensor
    residuals: torch.Tensor
    weights: torch.Tensor
    list_offsets: torch.Tensor
    list_pids: torch.Tensor
    tokens: int

    def candidates(self, scores: torch.Tensor, nprobe: int) -> torch.Tensor:
        """Stage 1: the union of the lists of each query vector's best centroids."""
        cells = scores.topk(nprobe, dim=0).indices.unique()
        starts, ends = self.list_offsets[cells], self.list_offsets[cells + 1]
        lengths = ends - starts
        shifts = torch.repeat_interleave(starts - lengths.cumsum(0) + lengths, lengths)
        places = torch.arange(int(lengths.sum()), device=scores.device) + shifts
        return self.list_pids[places].unique()

    def interact(self, scores: torch.Tensor, pids: torch.Tensor, keep: int) -> torch.Tensor:
        """Stages 2 and 3: MaxSim on centroids."""
        if len(pids) <= keep:
            return pids
        rows = self._tokens(pids)
        approximate = scores[self.codes[rows].long()].amax(dim=1).sum(dim=1)
        return pids[approximate.topk(keep).indices]

    def rescore(self, query: torch.Tensor, pids: torch.Tensor) -> torch.Tensor:
        """Stage 4: MaxSim on reconstructed vectors."""
        rows = self._tokens(pids)
        residuals = self.weights[self.residuals[rows].long()].flatten(2)
        vectors = self.centroids[self.codes[rows].long()] + residuals
        vectors = torch.nn.functional.normalize(vectors.float(), dim=-1).half()
        return (vectors @ query.half().T).amax(dim=1).sum(dim=1, dtype=torch.float32)

    def search(
        self, query: torch.Tensor, k: int, nprobe: int, n_candidates: int, n_rescored: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The best k pids with their scores."""
        scores = self.centroids @ query.half().T
        pids = self.candidates(scores, nprobe)
        pids = self.interact(scores, pids, n_candidates)
        pids = self.interact(scores, pids, n_rescored)
        exact = self.rescore(query, pids)
        best = exact.topk(min(k, len(pids)))
        return pids[best.indices], best.values

    def _tokens(self, pids: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(self.tokens, device=pids.device)
        return pids.long()[:, None] * self.tokens + steps
