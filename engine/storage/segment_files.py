"""The files of one immutable segment: arrays over mapped memory, checked when touched."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..errors import CorruptIndexError, SnapshotClosedError
from .checksums import BLOCK_BYTES, CheckedFile, require_length, verify_file
from .connections import Connections
from .directory import Directory
from .files import read_tensors
from .fulltext import PostingsCache
from .identifiers import IdTable
from .layout import ARRAYS_FILE, CHECKSUMS_FILE, PASSAGES_FILE, segment_file
from .manifest import CODED, SegmentRef
from .mapping import Bytes
from .passages import PassagesFile, PassageStore
from .tensors import header_end, read_header, require_tensor

ID_TENSORS: Final = ("id_offsets", "id_hashes", "id_docnos", "id_bytes", "id_bloom")

_PARTS: Final = {"id": "ids", "ivf": "inverted_lists"}
"""First words of tensor names -> the part of the index they belong to."""

Array = NDArray[Any]


class SegmentFiles:
    """The files of one segment, open and shared by all generations that name it.

    Opening checks the structure: lengths agree, doclens add up, offsets are monotone, the
    inverted lists belong to the codec. Codes and pids are checked by the kernels as they walk.

    Args:
        directory: of the index.
        ref: what the manifest says of the segment.
        dim: components per embedding.
        bits: residual bits of its codec; not used for flat segments.
        mmap: map the arrays; False reads them into memory.
        connections, postings: to and of SQLite files, shared by the segments of a reader.
        is_named: whether the newest generation still names the segment, asked where a file that is
            opened later is missing. Without it the segment counts as named.

    Raises:
        CorruptIndexError: a file is missing, damaged or not of the structure.
    """

    def __init__(
        self,
        directory: Directory,
        ref: SegmentRef,
        *,
        dim: int,
        bits: int,
        mmap: bool = True,
        connections: Connections | None = None,
        postings: PostingsCache | None = None,
        is_named: Callable[[], bool] = lambda: True,
    ) -> None:
        self.ref = ref
        self._is_named = is_named
        self.dim = dim
        self._connections = Connections() if connections is None else connections
        self._postings = PostingsCache() if postings is None else postings
        self._bits = bits
        self._directory = directory
        self._name = segment_file(ref.id, ARRAYS_FILE)
        checksums = self._read_checksums()
        self._file = CheckedFile(self._name, self._load(mmap), checksums[ARRAYS_FILE])
        self._file.touch_range(0, header_end(self._file.data, self._name))
        self.tensors = read_header(self._file.data, self._name)
        self._open_passages()
        if ref.kind == CODED:
            self._open_codes()
        else:
            self.embeddings = self._tensor(
                "embeddings", (np.float16,), lambda s: s == (ref.n_tokens, dim)
            )
        self.passages = self._open_store(checksums[PASSAGES_FILE])

    def _read_checksums(self) -> dict[str, Array]:
        name = segment_file(self.ref.id, CHECKSUMS_FILE)
        tables = read_tensors(self._directory, name, self.ref.checksums)
        for file in (ARRAYS_FILE, PASSAGES_FILE):
            if file not in tables or tables[file].dtype != np.uint32 or tables[file].ndim != 1:
                raise CorruptIndexError(f"{name} has no usable checksums of {file}.")
        return tables

    def _load(self, mmap: bool) -> Bytes:
        try:
            if mmap:
                data = self._directory.map(self._name)
            else:
                data = np.frombuffer(self._directory.read(self._name), dtype=np.uint8)
        except FileNotFoundError as error:
            raise CorruptIndexError(f"{self._name} is missing: restore the index.") from error
        require_length(self._name, data.size, self.ref.arrays_bytes)
        return data

    def _tensor(
        self,
        key: str,
        dtypes: tuple[type[np.generic], ...],
        fits: Callable[[tuple[int, ...]], bool],
    ) -> Array:
        """A tensor over the file, its content not checked yet."""
        return require_tensor(self.tensors, key, self._name, dtypes, fits).of(self._file.data)

    def _checked(
        self,
        key: str,
        dtypes: tuple[type[np.generic], ...],
        fits: Callable[[tuple[int, ...]], bool],
    ) -> Array:
        """A tensor over the file, its blocks checked."""
        tensor = self._tensor(key, dtypes, fits)
        self.touch_all(key)
        return tensor

    def _require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise CorruptIndexError(f"{self._name}: {problem}.")

    def _open_passages(self) -> None:
        ref = self.ref
        count = (ref.n_passages,)
        self.doclens = self._checked("doclens", (np.uint32,), lambda s: s == count)
        self.offsets = np.zeros(ref.n_passages + 1, dtype=np.int64)
        np.cumsum(self.doclens, out=self.offsets[1:])
        self._require(self.offsets[-1] == ref.n_tokens, f"doclens do not sum to {ref.n_tokens}")
        self._require(int(self.doclens.min()) > 0, "a passage has no embeddings")
        self.passage_document = self._checked(
            "passage_document", (np.uint32,), lambda s: s == count
        )
        steps = np.diff(self.passage_document.astype(np.int64), prepend=-1, append=ref.n_documents)
        in_order = steps[0] == steps[-1] == 1 and steps.min() >= 0 and steps.max() == 1
        self._require(bool(in_order), "passage_document does not name each document in order")
        self.sequences: Array | None = None
        if "sequences" in self.tensors:
            documents = (ref.n_documents,)
            self.sequences = self._tensor("sequences", (np.uint64,), lambda s: s == documents)

    def _open_codes(self) -> None:
        ref = self.ref
        count, residual_bytes = (ref.n_tokens,), (self.dim * self._bits + 7) // 8
        code_dtype = np.uint16 if ref.n_centroids <= 1 << 16 else np.uint32
        self.codes = self._tensor("codes", (code_dtype,), lambda s: s == count)
        self.inverse_norms = self._tensor("inverse_norms", (np.uint8,), lambda s: s == count)
        self.residuals = self._tensor(
            "residuals", (np.uint8,), lambda s: s == (ref.n_tokens, residual_bytes)
        )
        self._open_inverted_lists()

    def _open_inverted_lists(self) -> None:
        n_centroids = self.ref.n_centroids
        self.ivf_pids = self._tensor("ivf_pids", (np.uint32,), lambda s: len(s) == 1)
        lengths = self._checked("ivf_lengths", (np.uint32,), lambda s: len(s) == 1)
        self.ivf_offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=self.ivf_offsets[1:])
        self._require(
            self.ivf_offsets[-1] == len(self.ivf_pids), "ivf_lengths do not sum to the entries"
        )
        self.ivf_centroids: Array | None = None
        if "ivf_centroids" not in self.tensors:
            self._require(len(lengths) == n_centroids, "ivf_lengths are not one per centroid")
            return
        numbers = self._checked("ivf_centroids", (np.uint32,), lambda s: s == lengths.shape)
        ascending = bool((numbers[1:] > numbers[:-1]).all()) and len(numbers) > 0
        self._require(
            ascending and int(numbers[-1]) < n_centroids, "ivf_centroids are not centroids in order"
        )
        self.ivf_centroids = numbers

    def _open_store(self, checksums: Array) -> PassageStore:
        name, size_bytes = segment_file(self.ref.id, PASSAGES_FILE), self.ref.passages_bytes

        def verify() -> None:
            try:
                verify_file(self._directory, name, size_bytes, checksums)
            except FileNotFoundError as error:
                raise self._missing(name) from error

        file = PassagesFile(name, size_bytes, self.ref.n_documents, self.ref.n_passages)
        return PassageStore(
            self._directory, file, self._id_table, verify, self._connections, self._postings
        )

    def _missing(self, name: str) -> CorruptIndexError | SnapshotClosedError:
        """What it means that a file is not there, long after the segment was opened."""
        if self._is_named():
            return CorruptIndexError(f"{name} is missing: restore the index.")
        return SnapshotClosedError(
            f"{name} was collected: the generation of this snapshot was superseded, and no pin "
            "kept it, since none could be written, or it had not been renewed in time. Nothing is "
            "damaged: take a new snapshot."
        )

    def _id_table(self) -> IdTable:
        documents = self.ref.n_documents
        dtypes: tuple[type[np.generic], ...] = (
            np.int64,
            np.uint64,
            np.uint32,
            np.uint8,
            np.uint8,
        )
        tensors = {
            key: self._checked(key, (dtype,), lambda s: len(s) == 1)
            for key, dtype in zip(ID_TENSORS, dtypes, strict=True)
        }
        self._require(len(tensors["id_hashes"]) == documents, "ids are not one per document")
        return IdTable(tensors, self._name)

    @cached_property
    def coded(self) -> kernels.CodedSegment:
        """The arrays of a coded segment for the search in bytes, which reads no unchecked block."""
        names = ("codes", "residuals", "inverse_norms", "ivf_pids")
        return kernels.coded_segment(
            self.codes,
            self.residuals,
            self.inverse_norms,
            self.ivf_centroids,
            self.ivf_offsets,
            self.ivf_pids,
            self.offsets,
            self.ref.n_centroids,
            unchecked=self._file.unchecked,
            positions=[self.tensors[name].start for name in names],
        )

    def check_blocks(self, firsts: Array, ends: Array) -> None:
        """Check blocks `[first, end)` of the arrays' file, if not checked yet."""
        self._file.touch(firsts * BLOCK_BYTES, ends * BLOCK_BYTES)

    def touch(self, key: str, starts: Array, ends: Array) -> None:
        """Check the blocks behind rows `[start, end)` of a tensor, if not checked yet."""
        if self._file.all_checked:
            return
        found = self.tensors[key]
        self._file.touch(
            starts.astype(np.int64) * found.row_bytes + found.start,
            ends.astype(np.int64) * found.row_bytes + found.start,
        )

    def touch_all(self, key: str) -> None:
        """Check all blocks of a tensor, if not checked yet."""
        found = self.tensors[key]
        self._file.touch_range(found.start, found.end)

    def verify(self) -> None:
        """Check every byte of the segment.

        Raises:
            CorruptIndexError: a block is not what was written.
        """
        self._file.touch_range(0, self._file.data.size)
        self.passages.verify()

    def sizes(self) -> dict[str, int]:
        """Bytes on disk by part."""
        parts = {key: found.end - found.start for key, found in self.tensors.items()}
        grouped: dict[str, int] = {}
        for key, size_bytes in parts.items():
            part = _PARTS.get(key.partition("_")[0], key)
            grouped[part] = grouped.get(part, 0) + size_bytes
        headers = self.ref.arrays_bytes - sum(parts.values())
        grouped["checksums_and_headers"] = headers + self.ref.checksums.size_bytes
        grouped["passages"] = self.ref.passages_bytes
        return grouped

    def close(self) -> None:
        """Close the SQLite file; the arrays' memory goes with the last reference to it."""
        self.passages.close()
