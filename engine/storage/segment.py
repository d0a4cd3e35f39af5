"""One segment as one generation sees it: its files, and which of its rows are alive."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..codec import Codec
from .fulltext import FullText
from .manifest import CODED
from .passages import PassageStore
from .segment_files import SegmentFiles


class SegmentView:
    """What search and the facade read of a segment; safe to share by threads.

    Arrays lie over the segment's files: call `touch` for the rows about to be read, so that
    damage is an error and never a wrong result. `doclens`, `offsets`, `passage_document`,
    `ivf_offsets` and `ivf_centroids` were checked when the segment was opened.

    Args:
        files: the open files, shared by all generations that name the segment.
        alive_documents: bool [n_documents]; None where all are alive.
        codec: that a coded segment is read with; None for a flat one.

    Attributes:
        id: the segment's folder.
        kind: "flat" (embeddings) or "coded" (codes, residuals, inverse_norms, ivf_*).
        codec: that a coded segment is read with: its own, or one whose first centroids are those
            of its own; None for a flat one.
        codec_id: of the codec that a coded segment was made with, else None.
        n_centroids: of that codec, else 0.
        n_passages, n_documents, n_tokens: dead ones included.
        dim: components per embedding.
        doclens: uint32 [n_passages].
        offsets: int64 [n_passages + 1], first token of each passage.
        passage_document: uint32 [n_passages], the docno of each passage, non-decreasing.
        embeddings: float16 [n_tokens, dim]; flat only, as those below are coded only.
        codes: uint16 or uint32 [n_tokens].
        residuals: uint8 [n_tokens, ceil(dim * bits / 8)].
        inverse_norms: uint8 [n_tokens].
        ivf_centroids: uint32 [m], numbers of the non-empty lists; None for one list per centroid.
        ivf_offsets: int64 [m + 1] into `ivf_pids`.
        ivf_pids: uint32, sorted within each list.
        passages: ids, text, metadata and spans.
    """

    embeddings: NDArray[np.float16]
    codes: NDArray[np.uint16] | NDArray[np.uint32]
    residuals: NDArray[np.uint8]
    inverse_norms: NDArray[np.uint8]
    ivf_centroids: NDArray[np.uint32] | None
    ivf_offsets: NDArray[np.int64]
    ivf_pids: NDArray[np.uint32]

    def __init__(
        self,
        files: SegmentFiles,
        alive_documents: NDArray[np.bool_] | None = None,
        codec: Codec | None = None,
    ) -> None:
        ref = files.ref
        self.files = files
        self.id, self.kind, self.codec = ref.id, ref.kind, codec
        self.codec_id, self.n_centroids = ref.codec, ref.n_centroids
        self.n_passages, self.n_documents = ref.n_passages, ref.n_documents
        self.n_tokens, self.dim = ref.n_tokens, files.dim
        self.doclens: NDArray[np.uint32] = files.doclens
        self.offsets: NDArray[np.int64] = files.offsets
        self.passage_document: NDArray[np.uint32] = files.passage_document
        self.passages: PassageStore = files.passages
        self.alive_documents = alive_documents
        if ref.kind == CODED:
            self.codes, self.residuals = files.codes, files.residuals
            self.inverse_norms = files.inverse_norms
            self.ivf_centroids, self.ivf_offsets = files.ivf_centroids, files.ivf_offsets
            self.ivf_pids = files.ivf_pids
        else:
            self.embeddings = files.embeddings

    def __repr__(self) -> str:
        return f"SegmentView({self.id}, {self.kind}, {self.n_passages} passages)"

    @cached_property
    def alive(self) -> NDArray[np.bool_] | None:
        """bool [n_passages]; None where all passages are alive."""
        if self.alive_documents is None:
            return None
        return self.alive_documents[self.passage_document]

    @cached_property
    def n_alive_documents(self) -> int:
        """Documents that are alive."""
        if self.alive_documents is None:
            return self.n_documents
        return int(np.count_nonzero(self.alive_documents))

    @cached_property
    def n_alive_passages(self) -> int:
        """Passages that are alive."""
        alive = self.alive
        return self.n_passages if alive is None else int(np.count_nonzero(alive))

    @cached_property
    def n_alive_tokens(self) -> int:
        """Embeddings of passages that are alive."""
        alive = self.alive
        return self.n_tokens if alive is None else int(self.doclens[alive].sum(dtype=np.int64))

    @property
    def full_text(self) -> FullText:
        """Which documents hold which words, dead ones included."""
        return self.passages.full_text

    @cached_property
    def n_alive_words(self) -> int:
        """Words of documents that are alive, repetitions included; reads the full text."""
        lengths, alive = self.full_text.lengths, self.alive_documents
        return int((lengths if alive is None else lengths[alive]).sum(dtype=np.int64))

    def is_alive(self, docno: int) -> bool:
        """Whether a document is alive."""
        return self.alive_documents is None or bool(self.alive_documents[docno])

    @property
    def coded(self) -> kernels.CodedSegment:
        """A coded segment's arrays, held for the search in bytes."""
        return self.files.coded

    def check_blocks(self, firsts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Check the blocks [first, end) of the segment's file, unless done before.

        Raises:
            CorruptIndexError: a block is not what was written; names file and offset.
        """
        self.files.check_blocks(firsts, ends)

    def touch(self, name: str, starts: NDArray[Any], ends: NDArray[Any]) -> None:
        """Check the blocks behind rows `[start, end)` of an array that is about to be read.

        Args:
            name: of the array: "embeddings", "codes", "residuals", "inverse_norms", "ivf_pids".
            starts, ends: integers [c], rows.

        Raises:
            CorruptIndexError: a block is not what was written; names file and offset.
        """
        self.files.touch(name, starts, ends)

    def touch_all(self, name: str) -> None:
        """`touch` for all rows of an array."""
        self.files.touch_all(name)

    def sizes(self) -> dict[str, int]:
        """Bytes on disk by part."""
        return self.files.sizes()
