"""What callers hand in and get back: documents, passages and hits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """What the caller adds and names.

    Args:
        id: any string of 1 to 512 UTF-8 bytes, unique in the index.
        text: the whole text; split into passages where it is longer than the encoder reads.
        metadata: JSON values (str, int, float, bool, None, lists and objects of them).
        language: a BCP-47 tag for encoders that need it (X-MOD), else None.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit that is scored: characters `start` to `end` of a document's text."""

    document_id: str
    ordinal: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result: a document as it was added, its score and its best passage.

    `score` is the MaxSim sum over the query's vectors: at most the number of query vectors,
    and negative where even the best matches point away. Of a hybrid search it is the fused score.
    """

    id: str
    score: float
    text: str
    metadata: dict[str, Any]
    passage: Passage
