"""From documents to batches of passages: splitting, encoding and bounding memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .documents import Document
from .encoder.base import Encoder
from .encoder.progress import counting
from .overlapping import made_ahead
from .storage.batch import EncodedBatch

STAGE_BYTES = 256 * 2**20
"""Embeddings held in memory before a segment is written, as float32."""

ENCODE_CHARACTERS = 2**19
"""Text that is split and encoded at a time: enough to batch passages of like length, and with
768 dimensions about 400 MB of vectors."""

GROUPS_AHEAD: Final = 2
"""Such texts that are encoded while a batch is compressed and written, where the encoder does not
need this machine's cores; each costs memory."""

_Encoded = tuple[Document, list[tuple[int, int]], list[NDArray[Any]]]


def encoded_batches(
    documents: Sequence[Document], encoder: Encoder, *, progress: bool = False
) -> Iterator[EncodedBatch]:
    """Split and encode documents, a bounded batch at a time, in the caller's order.

    Where the encoder says that it encodes elsewhere, it goes on in a thread of its own while the
    caller does something with a batch.

    Args:
        documents: checked documents with text.
        encoder: splits and encodes.
        progress: show a progress bar.

    Yields:
        Batches whose embeddings take about `STAGE_BYTES` each.
    """
    collector = _Collector(encoder.identity.dim)
    groups = _encoded_groups(documents, encoder, progress)
    if getattr(encoder, "encodes_elsewhere", False):
        groups = made_ahead(groups, GROUPS_AHEAD)
    with closing(groups):
        for group in groups:
            for document, spans, arrays in group:
                collector.add(document, spans, arrays)
                if collector.full:
                    yield collector.take()
    if collector.documents:
        yield collector.take()


def _encoded_groups(
    documents: Sequence[Document], encoder: Encoder, progress: bool
) -> Generator[list[_Encoded]]:
    for group in _groups(documents, progress):
        spans = encoder.split_many([document.text for document in group])
        texts = [d.text[a:b] for d, parts in zip(group, spans, strict=True) for a, b in parts]
        languages = [d.language for d, parts in zip(group, spans, strict=True) for _ in parts]
        arrays = iter(encoder.encode_passages(texts, languages=languages))
        yield [
            (document, parts, [next(arrays) for _ in parts])
            for document, parts in zip(group, spans, strict=True)
        ]


def embedded_batches(
    documents: Sequence[Document], embeddings: Sequence[NDArray[Any]], dim: int
) -> Iterator[EncodedBatch]:
    """Put ready-made embeddings into bounded batches, one passage per document.

    Args:
        documents: checked documents.
        embeddings: one checked array [n, dim] per document, unit rows.
        dim: components per row.

    Yields:
        Batches whose embeddings take about `STAGE_BYTES` each.
    """
    collector = _Collector(dim)
    for document, array in zip(documents, embeddings, strict=True):
        collector.add(document, [(0, len(document.text))], [array])
        if collector.full:
            yield collector.take()
    if collector.documents:
        yield collector.take()


def _groups(documents: Sequence[Document], progress: bool) -> Iterator[list[Document]]:
    """Cut documents into groups of about `ENCODE_CHARACTERS`, with a bar over characters."""
    with counting(sum(len(d.text) for d in documents), shown=progress, unit="char") as done:
        group: list[Document] = []
        size = 0
        for document in documents:
            group.append(document)
            size += len(document.text)
            if size >= ENCODE_CHARACTERS:
                yield group
                done(size)
                group, size = [], 0
        if group:
            yield group
            done(size)


class _Collector:
    """Gathers passages until they make a batch."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._reset()

    def _reset(self) -> None:
        self.documents: list[Document] = []
        self.passage_document: list[int] = []
        self.spans: list[tuple[int, int]] = []
        self.arrays: list[NDArray[Any]] = []
        self.n_bytes = 0

    @property
    def full(self) -> bool:
        return self.n_bytes >= STAGE_BYTES

    def add(
        self, document: Document, spans: list[tuple[int, int]], arrays: list[NDArray[Any]]
    ) -> None:
        self.passage_document += [len(self.documents)] * len(spans)
        self.documents.append(document)
        self.spans += spans
        self.arrays += arrays
        self.n_bytes += sum(array.size * 4 for array in arrays)

    def take(self) -> EncodedBatch:
        batch = EncodedBatch(
            documents=self.documents,
            passage_document=np.array(self.passage_document, dtype=np.uint32),
            spans=np.array(self.spans, dtype=np.int64).reshape(-1, 2),
            doclens=np.array([len(array) for array in self.arrays], dtype=np.uint32),
            embeddings=np.ascontiguousarray(np.concatenate(self.arrays)),
        )
        self._reset()
        return batch
