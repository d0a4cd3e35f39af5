"""Reading one generation of an index: get, count, ids, search, explain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .asking import Asked, ask
from .attribution import explain_document
from .closing import Closing
from .codec import Codec
from .documents import Document, Hit
from .embeddings import check_query_embeddings
from .errors import InvalidDocumentError, InvalidQueryError
from .identity import EncoderSlot
from .search.device import SearchDevice
from .search.explain import Explanation
from .search.filters import parse_filter
from .search.hybrid import HybridLike
from .search.pipeline import checked_query
from .shown import shown
from .storage.generation import find_alive
from .storage.identifiers import IdQuery
from .storage.manifest import Manifest
from .storage.reader import Snapshot
from .storage.segment import SegmentView
from .validation import check_ids, check_query_text

Query = str | NDArray[Any]
FloatArray = NDArray[np.float32]


class IndexView(Closing):
    """One generation of an index, which stays as it is while the index moves on.

    Close it when done, or use it as a context manager: until then its files are kept.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        encoder: EncoderSlot,
        threads: int,
        device: SearchDevice | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._encoder = encoder
        self._threads = threads
        self._device = device

    @property
    def generation(self) -> int:
        """Number of the commit that is seen."""
        return self._snapshot.generation

    @property
    def manifest(self) -> Manifest:
        """What the generation consists of."""
        return self._snapshot.manifest

    @property
    def segments(self) -> Sequence[SegmentView]:
        """The segments, with what is alive in each."""
        return self._snapshot.segments

    @property
    def codec(self) -> Codec | None:
        """The codec that new segments are made with; None while the index is flat."""
        return self._snapshot.codec

    @property
    def snapshot(self) -> Snapshot:
        """The storage's own snapshot."""
        return self._snapshot

    @overload
    def get(self, id: str) -> Document | None: ...
    @overload
    def get(self, id: list[str] | tuple[str, ...]) -> list[Document | None]: ...
    def get(self, id: str | list[str] | tuple[str, ...]) -> Document | list[Document | None] | None:
        """The document behind an id, or a list for a list of ids; None where there is none."""
        if isinstance(id, str):
            return self._get([id])[0]
        return self._get(check_ids(id))

    def _get(self, ids: Sequence[str]) -> list[Document | None]:
        docnos: dict[int, list[int]] = {}
        for position, docno in find_alive(self.segments, IdQuery(ids)).values():
            docnos.setdefault(position, []).append(docno)
        found = {
            document.id: document
            for position, some in docnos.items()
            for document in self.segments[position].passages.documents(some)
        }
        return [found.get(id) for id in ids]

    def count(self) -> int:
        """Number of documents."""
        return self._snapshot.n_documents

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.get(id) is not None

    def ids(self, *, filter: Mapping[str, Any] | None = None) -> Iterator[str]:
        """Document ids, segment by segment, in the order in which they were added.

        Args:
            filter: conditions on metadata, as of `search`; None is all documents.

        Raises:
            InvalidFilterError: a filter that is not understood.
        """
        wanted = None if filter is None else parse_filter(filter)
        for segment in self.segments:
            alive = segment.alive_documents
            matching = None if wanted is None else wanted.documents(segment.passages)
            for docno, id in enumerate(segment.passages.ids()):
                if (alive is None or alive[docno]) and (matching is None or matching[docno]):
                    yield id

    def search(
        self,
        query: Query,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        group_by: str = "document",
        hybrid: HybridLike = None,
        query_text: str | None = None,
        **parameters: Any,
    ) -> list[Hit]:
        """The best k documents for a query; see `Index.search`."""
        parameters |= {"group_by": group_by, "hybrid": hybrid}
        asked = self._asked(k, filter, parameters, [query], [query_text])
        return asked.answer(self.query_vectors([query])[0], 0)

    def search_batch(
        self,
        queries: Sequence[Query],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        group_by: str = "document",
        hybrid: HybridLike = None,
        query_texts: Sequence[str | None] | None = None,
        **parameters: Any,
    ) -> list[list[Hit]]:
        """`search` for several queries, encoded together and spread over the threads."""
        if isinstance(queries, str | bytes) or not isinstance(queries, Sequence | np.ndarray):
            raise InvalidQueryError(
                f"queries is a {type(queries).__name__}: pass a list of queries, or use search."
            )
        queries = list(queries)
        texts = _matching(query_texts, len(queries))
        parameters = {"threads": 1, **parameters, "group_by": group_by, "hybrid": hybrid}
        asked = self._asked(k, filter, parameters, queries, texts)
        vectors = self.query_vectors(queries)
        asked = asked.together(vectors)
        with ThreadPoolExecutor(max_workers=self._workers()) as pool:
            return list(pool.map(asked.answer, vectors, range(len(vectors))))

    def _workers(self) -> int:
        return self._threads or kernels.default_threads()

    def _asked(
        self,
        k: int,
        filter: Mapping[str, Any] | None,
        parameters: Mapping[str, Any],
        queries: Sequence[Query],
        texts: Sequence[str | None],
    ) -> Asked:
        given = {"threads": self._threads, **parameters}
        return ask(self.segments, k, filter, given, queries, texts).on(self._device)

    def query_vectors(self, queries: Sequence[Query]) -> list[FloatArray]:
        """Check all queries, then encode the texts among them in one go; float32 [nq, dim].

        What an encoder makes of them is checked as well.
        """
        texts = [check_query_text(query) for query in queries if isinstance(query, str)]
        given = [
            None if isinstance(query, str) else self._given_vectors(query) for query in queries
        ]
        made = self._encoder.get().encode_queries(texts) if texts else []
        encoded = iter([checked_query(vectors, [self.manifest.dim]) for vectors in made])
        return [next(encoded) if vectors is None else vectors for vectors in given]

    def _given_vectors(self, query: object) -> FloatArray:
        if type(query) is np.ndarray:
            return check_query_embeddings(query, self.manifest.dim)
        texts = isinstance(query, list | tuple) and any(isinstance(part, str) for part in query)
        if texts or isinstance(query, bytes | Mapping) or not hasattr(query, "__len__"):
            hint = " For several texts use search_batch." if texts else ""
            raise InvalidQueryError(
                f"The query is {shown(query)}, a {type(query).__name__}: pass a string or an array "
                f"[vectors, dim].{hint}"
            )
        return check_query_embeddings(query, self.manifest.dim)

    def explain(self, query: Query, id: str) -> Explanation:
        """Which token of a document's best passage each query token matched; see `Index`."""
        vectors = self.query_vectors([query])[0]
        place = find_alive(self.segments, IdQuery(check_ids([id]))).get(id)
        if place is None:
            raise InvalidDocumentError(
                f"No document has the id {id!r}: take it from a search's hit."
            )
        segment = self.segments[place[0]]
        return explain_document(query, vectors, segment, place[1], self._encoder)

    def close(self) -> None:
        """Let go of the generation."""
        self._snapshot.close()


def _matching(texts: Sequence[str | None] | None, n: int) -> Sequence[str | None]:
    """One text, or None, for each of n queries."""
    if texts is None:
        return [None] * n
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence) or len(texts) != n:
        raise InvalidQueryError(
            f"query_texts is {shown(texts)}: pass a list with a text, or None, for each of the "
            f"{n} queries."
        )
    return texts
