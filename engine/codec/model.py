"""The codec: an embedding becomes a centroid number, residual codes and one inverse norm."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..errors import (
    CorruptIndexError,
    DimensionMismatchError,
    InvalidEmbeddingError,
    InvalidParameterError,
)
from .cells import DEFAULT_PROBES, Cells, chunks, float_rows, native_rows
from .checks import check_stored, find_problem
from .rotation import rotate, rotate_by, transposed

if TYPE_CHECKING:
    from .device import BuildDevice

FloatArray = NDArray[np.float32]
Rows = NDArray[np.float32] | NDArray[np.float16]
CodeArray = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True, eq=False, slots=True)
class Compressed:
    """Embeddings in their stored form.

    Args:
        codes: uint16 or uint32 [n], the centroid numbers.
        residuals: uint8 [n, ceil(dim * bits / 8)], packed bucket numbers.
        inverse_norms: uint8 [n], steps within the codec's inverse_norm_range.
        cosines: float32 [n], dot products of the embeddings with their centroids.
    """

    codes: CodeArray
    residuals: NDArray[np.uint8]
    inverse_norms: NDArray[np.uint8]
    cosines: FloatArray


@dataclass(frozen=True, slots=True)
class ReconstructionError:
    """What compression loses.

    Args:
        n_embeddings: rows measured.
        mean_cosine: mean cosine between an embedding and its reconstruction, at most 1.
        min_cosine: the worst of them.
        mean_squared_error: mean squared Euclidean distance between the two.
    """

    n_embeddings: int
    mean_cosine: float
    min_cosine: float
    mean_squared_error: float


@dataclass(frozen=True, eq=False)
class Codec:
    """Centroids and the scalar codebook of residuals; immutable, safe to share by threads.

    Args:
        centroids: float32 [K, dim], each value representable in fp16 (they are stored so).
        bucket_cutoffs: float32 [2^bits - 1], ascending.
        bucket_weights: float32 [2^bits], ascending.
        inverse_norm_range: float32 [2], 0 < low < high.
        bits: 1, 2, 4 or 8 per dimension.
        cells: the two-level structure that speeds assignment up; None assigns exhaustively.
        rotation: float32 [b, b], orthogonal: centroids and residuals are those of embeddings
            rotated by it, see `rotate`; None leaves embeddings as they are.

    Raises:
        InvalidParameterError: a tensor is not as described.

    Source: Santhanam et al. 2022 (ColBERTv2), section 3.3.
    """

    centroids: FloatArray
    bucket_cutoffs: FloatArray
    bucket_weights: FloatArray
    inverse_norm_range: FloatArray
    bits: int
    cells: Cells | None = None
    rotation: FloatArray | None = None

    def __post_init__(self) -> None:
        problem = find_problem(self)
        if problem is not None:
            raise InvalidParameterError(f"Unusable codec: {problem}.")

    @property
    def dim(self) -> int:
        """Components per embedding."""
        return int(self.centroids.shape[1])

    @property
    def n_centroids(self) -> int:
        """Number of centroids, K."""
        return len(self.centroids)

    @property
    def code_dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The narrowest unsigned type that holds every code."""
        return np.uint16 if self.n_centroids <= 1 << 16 else np.uint32

    @property
    def residual_bytes(self) -> int:
        """Bytes of one embedding's packed residual."""
        return (self.dim * self.bits + 7) // 8

    @cached_property
    def prepared(self) -> kernels.SearchCodec | None:
        """The codec as the search in bytes wants it; None without the native module."""
        return kernels.search_codec(
            self.centroids,
            self.bucket_weights,
            self.inverse_norm_range,
            cell_centroids=None if self.cells is None else self.cells.centroids,
            cell_offsets=None if self.cells is None else self.cells.offsets,
            rotation=self.rotation,
        )

    @cached_property
    def cell_index(self) -> kernels.CellIndex | None:
        """Centroids and cells as assignment wants them; None for a codec without cells."""
        if self.cells is None:
            return None
        return kernels.cell_index(self.centroids, self.cells.centroids, self.cells.offsets)

    @cached_property
    def hash(self) -> str:
        """32 hex characters over bits and tensors; equal hashes decode equally."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"weft codec, {self.bits} bits".encode())
        for name, tensor in sorted(self.tensors().items()):
            digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
            digest.update(np.ascontiguousarray(tensor).data)
        return digest.hexdigest()

    def assign(
        self, embeddings: NDArray[np.floating], *, probes: int = DEFAULT_PROBES, threads: int = 0
    ) -> CodeArray:
        """Give each embedding the number of its nearest centroid.

        Args:
            embeddings: float32 or float16 [n, dim], L2-normalised.
            probes: coarse cells searched per embedding where the codec has cells.
            threads: 0 for all cores.

        Returns:
            uint16 or uint32 [n]: codes in [0, K); ties go to the lower number.

        Raises:
            DimensionMismatchError: the embeddings have another dim.
        """
        return self._assign(self.rotated(embeddings, threads=threads), probes, threads)[0]

    def rotated(self, rows: NDArray[np.floating], *, threads: int = 0) -> Rows:
        """Rows as centroids stand: query vectors to be scored, embeddings to be compressed.

        Args:
            rows: float32 or float16 [n, dim].
            threads: 0 for all cores.

        Raises:
            DimensionMismatchError: the rows have another dim.
        """
        self._check(rows)
        if self._factor is None:
            return native_rows(rows)
        return rotate_by(rows, self._factor, threads=threads)

    @cached_property
    def _factor(self) -> FloatArray | None:
        """The rotation as `rotate_by` takes it."""
        return None if self.rotation is None else transposed(self.rotation)

    def _assign(
        self, rows: Rows, probes: int, threads: int, device: BuildDevice | None = None
    ) -> tuple[CodeArray, FloatArray]:
        """Codes of rotated rows in the stored dtype, and dot products with their centroids."""
        found = None if device is None else device.assign(self, rows)
        if found is not None:
            codes, scores = found
        elif self.cell_index is None:
            codes, scores = kernels.assign(rows, self.centroids, threads=threads)
        else:
            codes, scores = self.cell_index.assign(rows, probes=probes, threads=threads)
        return (codes if self.code_dtype is np.uint32 else codes.astype(np.uint16)), scores

    def centroid_cosines(
        self,
        embeddings: NDArray[np.floating],
        *,
        threads: int = 0,
        device: BuildDevice | None = None,
    ) -> FloatArray:
        """float32 [n]: cosines between unit embeddings [n, dim] and their centroids."""
        rows = self.rotated(embeddings, threads=threads)
        return self._assign(rows, DEFAULT_PROBES, threads, device)[1]

    def compress(
        self,
        embeddings: NDArray[np.floating],
        *,
        threads: int = 0,
        device: BuildDevice | None = None,
    ) -> Compressed:
        """Turn embeddings into codes, packed residuals and inverse norms, chunk by chunk.

        Args:
            embeddings: float32 or float16 [n, dim], finite, L2-normalised.
            threads: 0 for all cores.
            device: a GPU that does it instead, where there are enough rows.

        Returns:
            The stored form; the result for a row does not depend on its neighbours.

        Raises:
            DimensionMismatchError: the embeddings have another dim.
            DeviceMemoryError, DeviceFailedError: a GPU that is required refused or failed.
        """
        rows = self.rotated(embeddings, threads=threads)
        found = None if device is None else device.compress(self, rows)
        if found is not None:
            return found
        codes, scores = self._assign(rows, DEFAULT_PROBES, threads)
        residuals, inverse_norms = kernels.compress(
            rows,
            self.centroids,
            codes,
            self.bucket_cutoffs,
            self.bucket_weights,
            self.inverse_norm_range,
            threads=threads,
        )
        return Compressed(codes, residuals, inverse_norms, scores)

    def decompress(
        self,
        codes: CodeArray,
        residuals: NDArray[np.uint8],
        inverse_norms: NDArray[np.uint8],
        *,
        threads: int = 0,
    ) -> FloatArray:
        """Rebuild embeddings: (centroid + bucket weights) times the inverse norm, turned back.

        Args:
            codes, residuals, inverse_norms: as `Compressed` holds them.
            threads: 0 for all cores.

        Returns:
            float32 [n, dim], of length 1 up to the step of the inverse norm byte.
        """
        rows = kernels.decompress(
            codes,
            residuals,
            inverse_norms,
            self.centroids,
            self.bucket_weights,
            self.inverse_norm_range,
            threads=threads,
        )
        if self.rotation is None:
            return rows
        return rotate(rows, self.rotation, inverse=True, threads=threads)

    def reconstruction_error(
        self, embeddings: NDArray[np.floating], *, threads: int = 0
    ) -> ReconstructionError:
        """Measure what compressing and rebuilding these embeddings loses.

        Args:
            embeddings: float32 or float16 [n, dim], n at least 1, L2-normalised.
            threads: 0 for all cores.

        Raises:
            InvalidEmbeddingError: there are no rows.
            DimensionMismatchError: the embeddings have another dim.
        """
        if len(embeddings) == 0:
            raise InvalidEmbeddingError("The reconstruction error needs at least one embedding.")
        cosines, squares = [], []
        for part in chunks(len(embeddings), self.dim):
            rows = float_rows(embeddings[part])
            packed = self.compress(rows, threads=threads)
            rebuilt = self.decompress(
                packed.codes, packed.residuals, packed.inverse_norms, threads=threads
            )
            lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(rebuilt, axis=1)
            dots = np.einsum("ij,ij->i", rows, rebuilt)
            cosines.append(dots / np.maximum(lengths, np.finfo(np.float32).tiny))
            squares.append(np.square(rows - rebuilt).sum(axis=1))
        cosine = np.concatenate(cosines).astype(np.float64)
        square = np.concatenate(squares).astype(np.float64)
        return ReconstructionError(
            len(cosine), float(cosine.mean()), float(cosine.min()), float(square.mean())
        )

    def tensors(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays to store; `from_tensors` takes them back without loss."""
        stored: dict[str, np.ndarray[Any, Any]] = {
            "centroids": self.centroids.astype(np.float16),
            "bucket_cutoffs": self.bucket_cutoffs,
            "bucket_weights": self.bucket_weights,
            "inverse_norm_range": self.inverse_norm_range,
        }
        if self.cells is not None:
            stored["cell_centroids"] = self.cells.centroids.astype(np.float16)
            stored["cell_offsets"] = self.cells.offsets
        if self.rotation is not None:
            stored["rotation"] = self.rotation
        return stored

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray[Any, Any]]) -> Codec:
        """Rebuild a codec from stored arrays, checking each of them.

        Args:
            tensors: what `tensors` returned.

        Raises:
            CorruptIndexError: an array is missing, unknown, or not what a codec can be.
        """
        check_stored(tensors)
        cells = None
        if "cell_offsets" in tensors:
            cells = Cells(float_rows(tensors["cell_centroids"]), np.array(tensors["cell_offsets"]))
        try:
            return cls(
                float_rows(tensors["centroids"]),
                np.array(tensors["bucket_cutoffs"]),
                np.array(tensors["bucket_weights"]),
                np.array(tensors["inverse_norm_range"]),
                max(0, len(tensors["bucket_weights"]).bit_length() - 1),
                cells,
                np.array(tensors["rotation"]) if "rotation" in tensors else None,
            )
        except InvalidParameterError as error:
            raise CorruptIndexError(f"{error} Restore the codec's files from a copy.") from error

    def _check(self, embeddings: NDArray[np.floating]) -> None:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim:
            raise DimensionMismatchError(
                f"Embeddings have shape {embeddings.shape}; the codec takes [n, {self.dim}]."
            )
