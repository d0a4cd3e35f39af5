"""The codec: an embedding becomes a centroid number, residual codes and one inverse norm.

Training samples the collection (`training`), finds centroids (`kmeans`) and the scalar codebook
of residuals (`buckets`); `model` applies them; `cells` finds nearest centroids fast.
"""

from __future__ import annotations

from .appending import append_centroids
from .device import BuildDevice
from .model import Codec, Compressed, ReconstructionError
from .training import (
    TrainingReport,
    n_centroids,
    sample_passages,
    sample_rows,
    train_codec,
)

__all__ = [
    "BuildDevice",
    "Codec",
    "Compressed",
    "ReconstructionError",
    "TrainingReport",
    "append_centroids",
    "n_centroids",
    "sample_passages",
    "sample_rows",
    "train_codec",
]
