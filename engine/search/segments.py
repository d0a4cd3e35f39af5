"""What search asks of a segment and of its passages; storage's views fit these protocols."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ..errors import CorruptIndexError

if TYPE_CHECKING:
    from ..codec import Codec

Mask = NDArray[np.bool_]


class MetadataLookup(Protocol):
    """The metadata of one segment's documents, looked up leaf by leaf."""

    @property
    def id_table(self) -> Sized:
        """The ids of the segment's documents, dead ones included; only their number counts."""

    def documents_where(self, key: str, operator: str, operand: Any) -> NDArray[np.uint32]:
        """Docnos of the documents that have the key and whose value satisfies the operator."""


class WordLookup(Protocol):
    """The full text of one segment's documents, dead ones included."""

    @property
    def n_documents(self) -> int:
        """Documents of the segment."""

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """uint32 [n_documents]: words of each document, repetitions included."""

    def document_counts(self, words: Sequence[str]) -> NDArray[np.int64]:
        """int64, per word: documents that hold it."""

    def postings(self, word: str) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Docnos of the documents that hold a word, ascending, and how often each does."""


class WordSegment(Protocol):
    """One segment as the search by words sees it."""

    @property
    def full_text(self) -> WordLookup:
        """Which documents hold which words."""

    @property
    def alive_documents(self) -> Mask | None:
        """bool [n_documents], False for deleted ones; None where all live."""

    @property
    def n_alive_documents(self) -> int:
        """Documents that live."""

    @property
    def n_alive_words(self) -> int:
        """Words of these, repetitions included."""


class SearchableSegment(Protocol):
    """One immutable segment as a snapshot sees it.

    A flat segment has `embeddings`; a coded one has `codes`, `residuals`, `inverse_norms` and
    the inverted lists. The large arrays (`embeddings`, `codes`, `residuals`, `inverse_norms`,
    `ivf_pids`) are read only after `touch` has verified the rows; the others were verified when
    the segment was opened.
    """

    @property
    def files(self) -> object:
        """What all generations that hold the segment share; lives as long as it is open."""

    @property
    def kind(self) -> str:
        """`flat` or `coded`."""

    @property
    def dim(self) -> int:
        """Components per embedding."""

    @property
    def codec(self) -> Codec | None:
        """What a coded segment is read with, one object for all segments of an epoch."""

    @property
    def n_centroids(self) -> int:
        """Centroids that a coded segment was made with: the first of its codec's."""

    @property
    def n_passages(self) -> int:
        """Passages, dead ones included."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [n_passages + 1]: a passage's embeddings are rows offsets[pid] to [pid + 1]."""

    @property
    def passage_document(self) -> NDArray[np.uint32]:
        """uint32 [n_passages]: the docno of each passage, non-decreasing."""

    @property
    def alive(self) -> Mask | None:
        """bool [n_passages], False for deleted passages; None where all live."""

    @property
    def embeddings(self) -> NDArray[np.float16]:
        """float16 [n, dim] of a flat segment."""

    @property
    def codes(self) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """uint16 or uint32 [n] of a coded segment: the centroid of each embedding."""

    @property
    def residuals(self) -> NDArray[np.uint8]:
        """uint8 [n, bytes] of a coded segment: packed bucket numbers."""

    @property
    def inverse_norms(self) -> NDArray[np.uint8]:
        """uint8 [n] of a coded segment."""

    @property
    def ivf_centroids(self) -> NDArray[np.uint32] | None:
        """uint32 [m]: sorted numbers of the non-empty inverted lists; None for one per centroid."""

    @property
    def ivf_offsets(self) -> NDArray[np.int64]:
        """int64 [m + 1]: where each inverted list starts in `ivf_pids`."""

    @property
    def ivf_pids(self) -> NDArray[np.uint32]:
        """uint32: the inverted lists, one behind the other."""

    @property
    def coded(self) -> kernels.CodedSegment:
        """A coded segment's arrays, held for the search in bytes."""

    def check_blocks(self, firsts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Verify the checksums of blocks [first, end) of the segment's file."""

    def touch(self, name: str, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Verify the checksums of the rows [start, end) of an array, unless done before."""


class Refusals:
    """The context that `refusals_of` makes; a class, since it is entered at every search."""

    __slots__ = ("_where",)

    def __init__(self, where: object) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Nothing is held."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ValueError):
            raise CorruptIndexError(
                f"{self._where}: {error}: restore the index from a copy."
            ) from error


def refusals_of(where: object) -> Refusals:
    """Turn what a kernel refuses of stored arrays into an error of the index.

    Checksums tell that bytes are those that were written, not that whoever wrote them meant
    well: kernels find codes, pids and scores that cannot be while they walk the arrays.

    Args:
        where: names the segment, or what else was read.

    Raises:
        CorruptIndexError: a value in an array is out of range.
    """
    return Refusals(where)


def wanted_passages(
    segments: Sequence[SearchableSegment], allowed: Sequence[Mask | None] | None
) -> list[Mask | None]:
    """Combine tombstones and filters.

    Args:
        segments: of one snapshot.
        allowed: per segment bool [n_passages] (what a filter lets through) or None for all;
            None lets everything through.

    Returns:
        Per segment bool [n_passages], or None where every passage may be found.
    """
    masks = [None] * len(segments) if allowed is None else list(allowed)
    return [_both(segment.alive, mask) for segment, mask in zip(segments, masks, strict=True)]


def _both(alive: Mask | None, mask: Mask | None) -> Mask | None:
    if alive is None or mask is None:
        return alive if mask is None else mask
    return alive & mask


def passage_mask(documents: Mask, segment: SearchableSegment) -> Mask:
    """Spread a choice of documents over their passages.

    Args:
        documents: bool [n_documents].
        segment: whose passages are meant.

    Returns:
        bool [n_passages].
    """
    spread: Mask = documents[segment.passage_document]
    return spread
