"""What training minimises: distance to a teacher's scores, and confusion within a batch.

Source: Santhanam et al. 2022 (ColBERTv2), section 3.2.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def distillation_loss(
    scores: torch.Tensor,
    teacher: torch.Tensor,
    *,
    temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> torch.Tensor:
    """Kullback-Leibler divergence from the teacher's distribution to the student's.

    Both are softmax distributions over a query's own passages; the mean goes over queries.

    Args:
        scores: float [queries, ways]: MaxSim of each query with its passages.
        teacher: float [queries, ways]: the teacher's scores of the same passages.
        temperature: divides the student's scores.
        teacher_temperature: divides the teacher's scores.
    """
    student = functional.log_softmax(scores / temperature, dim=1)
    wanted = functional.log_softmax(teacher.to(scores) / teacher_temperature, dim=1)
    return functional.kl_div(student, wanted, reduction="batchmean", log_target=True)


def binary_loss(scores: torch.Tensor, *, temperature: float = 1.0) -> torch.Tensor:
    """Cross entropy with the first passage of each query as the right one.

    Args:
        scores: float [queries, ways], the positive first.
        temperature: divides the scores.
    """
    first = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    return functional.cross_entropy(scores / temperature, first)


def in_batch_loss(
    scores: torch.Tensor,
    positives: torch.Tensor,
    excluded: torch.Tensor,
    *,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Cross entropy of each query's positive against the passages of the other queries.

    Args:
        scores: float [queries, passages of the batch].
        positives: int64 [queries]: the column of each query's positive.
        excluded: bool [queries, passages]: columns left out of the comparison: the query's own
            negatives, which the teacher judges, and repetitions of its own passages under
            other queries. The positive's column is never left out.
        temperature: divides the scores.
    """
    compared = (scores / temperature).masked_fill(excluded, -torch.inf)
    return functional.cross_entropy(compared, positives)
