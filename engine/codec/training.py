"""Training a codec: centroids on one part of a sample, buckets on the held-out rest."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from .. import limits
from ..errors import InvalidEmbeddingError, InvalidParameterError
from ..finite import all_finite
from .buckets import SUPPORTED_BITS, inverse_norm_range, train_buckets
from .cells import Cells, assign, chunks, float_rows, native_rows
from .device import BuildDevice
from .kmeans import train_centroids
from .model import Codec, ReconstructionError
from .rotation import make_rotation, rotate
from .service import far_cosine, skew

FloatArray = NDArray[np.float32]
RowNumbers = NDArray[np.int64]

SAMPLE_BYTES: Final = 1 << 30
"""Embeddings of a training sample, counted as float32: it takes half of that, and so does the
part of it that centroids are trained on."""

HELDOUT_SHARE: Final = 0.05
HELDOUT_ROWS: Final = 50_000
HELDOUT_VALUES: Final = 1 << 21
"""Components from which buckets are trained; more would not move them."""

FEWEST_PER_CENTROID: Final = 4
"""Sample rows that a centroid needs before a tiny collection is given another one."""

MOST_PER_CENTROID: Final = 32
"""Sample rows per centroid that k-means works on; more cost time and hardly move centroids."""

TRAINING_ITERATIONS: Final = 4
"""Rounds of k-means over the sample."""

SMALLEST_NORM: Final = 1e-3
"""Shorter reconstructions count as this long, so that inverse norms stay finite."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """How a codec came about.

    Args:
        n_sample: embeddings that moved centroids.
        n_heldout: embeddings that set buckets and the inverse norm range.
        n_centroids: centroids trained.
        iterations: k-means rounds.
        seconds: wall time.
        heldout_error: reconstruction error on the held-out embeddings.
        centroid_cosine: mean cosine between the held-out embeddings and their centroids.
        far_cosine: their `FAR_PERCENTILE`th percentile.
        skew: how unevenly they fill the centroids, see `service.skew`; None for one embedding.
    """

    n_sample: int
    n_heldout: int
    n_centroids: int
    iterations: int
    seconds: float
    heldout_error: ReconstructionError
    centroid_cosine: float
    far_cosine: float
    skew: float | None


def sample_passages(n_passages: int, *, passage_bytes: float | None = None) -> int:
    """How many passages, drawn at random, a codec is trained on.

    Args:
        n_passages: passages of the collection, at least 0.
        passage_bytes: mean bytes of a passage's float32 embeddings; when given, the sample
            stays within `SAMPLE_BYTES`.

    Returns:
        1 + 16 * sqrt(120 * n_passages), at most the collection and at least one of it.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3.
    """
    wanted = min(n_passages, 1 + int(16 * math.sqrt(120 * n_passages)))
    if passage_bytes:
        wanted = min(wanted, max(1, int(SAMPLE_BYTES / passage_bytes)))
    return wanted


def sample_rows(n_embeddings: int) -> int:
    """How many embeddings of a sample a codec's training makes use of.

    Args:
        n_embeddings: of the whole collection; at least 1.
    """
    return math.ceil(n_centroids(n_embeddings) * MOST_PER_CENTROID / (1 - HELDOUT_SHARE))


def n_centroids(n_embeddings: int) -> int:
    """2^floor(log2(16 * sqrt(n_embeddings))), the number of centroids a collection gets.

    Args:
        n_embeddings: of the whole collection, not of the sample; at least 1.

    Source: Santhanam et al. 2022 (PLAID), section 4.1.
    """
    return 1 << (math.isqrt(256 * max(1, n_embeddings)).bit_length() - 1)


def train_codec(
    sample: NDArray[np.floating],
    *,
    n_embeddings: int,
    bits: int,
    seed: int = 0,
    iterations: int = TRAINING_ITERATIONS,
    n_centroids: int | None = None,
    threads: int = 0,
    device: BuildDevice | None = None,
) -> tuple[Codec, TrainingReport]:
    """Train centroids, buckets and the inverse norm range on a sample of embeddings.

    Args:
        sample: float32 or float16 [n, dim], n at least 1, finite, L2-normalised; of passages
            drawn at random.
        n_embeddings: of the whole collection; sets the number of centroids.
        bits: 1, 2, 4 or 8 per dimension.
        seed: equal seeds and samples give equal codecs on one machine.
        iterations: k-means rounds, at least 1.
        n_centroids: overrides the number; never more than the sample has distinct rows.
        threads: 0 for all cores.
        device: a GPU for the rounds of k-means, where there are enough rows.

    Returns:
        The codec and how it came about.

    Raises:
        InvalidEmbeddingError: no rows, or NaN or infinity among them.
        InvalidParameterError: bits, iterations or n_centroids out of range.
        DeviceMemoryError, DeviceFailedError: a GPU that is required refused or failed.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3.
    """
    start = time.perf_counter()
    _check_training(sample, bits, iterations, n_centroids)
    training, held = _split(len(sample), sample.shape[1], seed)
    wanted = n_centroids or _supported_centroids(n_embeddings, len(training))
    wanted = min(wanted, len(training))
    rotation = make_rotation(sample.shape[1], seed)
    train = _rotated(sample[np.sort(training[: wanted * MOST_PER_CENTROID])], rotation, threads)
    centroids, cells = train_centroids(
        train, wanted, iterations=iterations, seed=seed, threads=threads, device=device
    )
    heldout = float_rows(sample[np.sort(held)])
    rows = float_rows(_rotated(heldout, rotation, threads))
    codes, cosines = assign(rows, centroids, cells, threads=threads)
    codec = replace(_fit_buckets(rows, codes, centroids, cells, bits, threads), rotation=rotation)
    report = TrainingReport(
        n_sample=len(train),
        n_heldout=len(heldout),
        n_centroids=len(centroids),
        iterations=iterations,
        seconds=time.perf_counter() - start,
        heldout_error=codec.reconstruction_error(heldout, threads=threads),
        centroid_cosine=float(cosines.mean(dtype=np.float64)),
        far_cosine=far_cosine(cosines),
        skew=skew(np.bincount(codes, minlength=len(centroids))),
    )
    return codec, report


def _check_training(
    sample: NDArray[np.floating], bits: int, iterations: int, n_centroids: int | None
) -> None:
    if sample.ndim != 2 or not len(sample) or not 1 <= sample.shape[1] <= limits.MAX_DIM:
        raise InvalidEmbeddingError(
            f"A codec is trained on embeddings [n, dim] with n >= 1 and dim from 1 to "
            f"{limits.MAX_DIM}, not on shape {sample.shape}."
        )
    if not all_finite(sample):
        raise InvalidEmbeddingError(
            "The training sample holds NaN or infinity: check the encoder that made it."
        )
    if bits not in SUPPORTED_BITS:
        raise InvalidParameterError(f"bits is {bits!r}: use one of {SUPPORTED_BITS}.")
    if iterations < 1:
        raise InvalidParameterError(f"iterations is {iterations!r}: use at least 1.")
    if n_centroids is not None and n_centroids < 1:
        raise InvalidParameterError(f"n_centroids is {n_centroids!r}: use at least 1.")


def _supported_centroids(n_embeddings: int, n_train: int) -> int:
    """The collection's number of centroids, halved until the sample can fill them."""
    wanted = n_centroids(n_embeddings)
    while wanted > 1 and wanted * FEWEST_PER_CENTROID > n_train:
        wanted //= 2
    return wanted


def _split(n_rows: int, dim: int, seed: int) -> tuple[RowNumbers, RowNumbers]:
    """Row numbers, shuffled, of those that move centroids and of those held out.

    A sample too small to be cut serves as both.
    """
    most = min(HELDOUT_ROWS, max(1, HELDOUT_VALUES // dim))
    n_heldout = min(int(n_rows * HELDOUT_SHARE), most)
    shuffled = np.random.default_rng(seed).permutation(n_rows)
    if n_heldout == 0:
        return shuffled, shuffled
    return shuffled[n_heldout:], shuffled[:n_heldout]


def _rotated(
    rows: NDArray[np.floating], rotation: FloatArray | None, threads: int
) -> NDArray[np.float32] | NDArray[np.float16]:
    """Rows of the sample, rotated, in the dtype that they have."""
    if rotation is None:
        return native_rows(rows)
    out = np.empty(rows.shape, dtype=np.float16 if rows.dtype == np.float16 else np.float32)
    for part in chunks(len(rows), rows.shape[1]):
        out[part] = rotate(rows[part], rotation, threads=threads)
    return out


def _fit_buckets(
    heldout: FloatArray,
    codes: NDArray[np.uint32],
    centroids: FloatArray,
    cells: Cells | None,
    bits: int,
    threads: int,
) -> Codec:
    cutoffs, weights = train_buckets(heldout - centroids[codes], bits)
    whole = (1.0, 1.0)  # every inverse norm is 1: what comes back is not scaled
    packed = kernels.compress(heldout, centroids, codes, cutoffs, weights, whole, threads=threads)
    rebuilt = kernels.decompress(codes, *packed, centroids, weights, whole, threads=threads)
    norms = np.maximum(np.linalg.norm(rebuilt, axis=1), SMALLEST_NORM)
    return Codec(centroids, cutoffs, weights, inverse_norm_range(1 / norms), bits, cells)
