"""What a writer is handed: encoded documents that are to become one segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import limits
from ..documents import Document
from ..errors import (
    DuplicateDocumentError,
    InvalidDocumentError,
    InvalidEmbeddingError,
)
from ..finite import all_finite


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Documents, how they were cut into passages, and the passages' embeddings.

    Args:
        documents: at least one, ids distinct.
        passage_document: uint32 [P], non-decreasing: the position in `documents` of each
            passage's document; every document has a passage.
        spans: int64 [P, 2], characters `[start, end)` of the document's text.
        doclens: uint32 [P], embeddings of each passage, at least 1.
        embeddings: float32 or float16 [sum(doclens), dim], finite.

    Raises:
        InvalidDocumentError: documents, passages or spans do not fit together.
        DuplicateDocumentError: an id stands twice.
        InvalidEmbeddingError: embeddings of another shape or dtype, or not finite.
    """

    documents: list[Document]
    passage_document: NDArray[np.uint32]
    spans: NDArray[np.int64]
    doclens: NDArray[np.uint32]
    embeddings: NDArray[np.float32] | NDArray[np.float16]

    def __post_init__(self) -> None:
        require_distinct(document.id for document in self.documents)
        self._check_passages()
        self._check_spans()
        self._check_embeddings()

    @property
    def n_passages(self) -> int:
        """Number of passages, P."""
        return len(self.doclens)

    @property
    def n_tokens(self) -> int:
        """Number of embeddings."""
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """Components per embedding."""
        return int(self.embeddings.shape[1])

    def ordinals(self) -> NDArray[np.int64]:
        """int64 [P]: the number of each passage within its document, from 0."""
        firsts = np.flatnonzero(np.diff(self.passage_document, prepend=np.uint32(2**32 - 1)))
        counts = np.diff(firsts, append=self.n_passages)
        return np.arange(self.n_passages) - np.repeat(firsts, counts)

    def _check_passages(self) -> None:
        numbers = self.passage_document
        _require_array("passage_document", numbers, np.uint32, (len(numbers),))
        steps = np.diff(numbers.astype(np.int64), prepend=-1, append=len(self.documents))
        covered = len(self.documents) > 0 and steps[0] == 1 and steps[-1] == 1
        if not covered or steps.min() < 0 or steps.max() > 1:
            raise InvalidDocumentError(
                f"passage_document must name each of the {len(self.documents)} documents, at least "
                "one, in order, by one or more passages."
            )

    def _check_spans(self) -> None:
        _require_array("spans", self.spans, np.int64, (self.n_passages, 2))
        lengths = np.array([len(document.text) for document in self.documents], dtype=np.int64)
        starts, ends = self.spans[:, 0], self.spans[:, 1]
        bad = (starts < 0) | (ends < starts) | (ends > lengths[self.passage_document])
        if bad.any():
            pid = int(bad.argmax())
            document = self.documents[int(self.passage_document[pid])]
            raise InvalidDocumentError(
                f"Document {document.id!r}: the span {self.spans[pid].tolist()} of a passage lies "
                f"outside its text of {len(document.text)} characters."
            )

    def _check_embeddings(self) -> None:
        _require_array("doclens", self.doclens, np.uint32, (len(self.passage_document),))
        longest = int(self.doclens.max())
        if self.doclens.min() < 1 or longest > limits.MAX_PASSAGE_EMBEDDINGS:
            raise InvalidEmbeddingError(
                f"A passage has 1 to {limits.MAX_PASSAGE_EMBEDDINGS:,} embeddings; doclens go from "
                f"{int(self.doclens.min())} to {longest:,}."
            )
        n_tokens = int(self.doclens.sum(dtype=np.int64))
        if self.embeddings.ndim != 2 or len(self.embeddings) != n_tokens:
            raise InvalidEmbeddingError(
                f"embeddings have shape {self.embeddings.shape}, but doclens sum to {n_tokens}."
            )
        if self.embeddings.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
            raise InvalidEmbeddingError(
                f"embeddings are {self.embeddings.dtype}: use float32 or float16."
            )
        if not all_finite(self.embeddings):
            raise InvalidEmbeddingError("embeddings hold NaN or infinity: check the encoder.")


def joined(batches: Sequence[EncodedBatch]) -> EncodedBatch:
    """One batch of several, at least one, in their order."""
    if len(batches) == 1:
        return batches[0]
    firsts = np.cumsum([0, *(len(batch.documents) for batch in batches)])
    numbers = [
        batch.passage_document + np.uint32(first)
        for batch, first in zip(batches, firsts, strict=False)
    ]
    return EncodedBatch(
        documents=[document for batch in batches for document in batch.documents],
        passage_document=np.concatenate(numbers),
        spans=np.concatenate([batch.spans for batch in batches]),
        doclens=np.concatenate([batch.doclens for batch in batches]),
        embeddings=np.concatenate([batch.embeddings for batch in batches]),
    )


def require_distinct(ids: Any) -> None:
    """Raise `DuplicateDocumentError`, naming the id, if an iterable of ids has one twice."""
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise DuplicateDocumentError(
                f"Document id {id!r} stands twice in one call: keep one of the two."
            )
        seen.add(id)


def _require_array(
    name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]
) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise InvalidDocumentError(
            f"{name} is {array.dtype} {list(array.shape)}; expected {np.dtype(dtype)} "
            f"{list(shape)}."
        )
