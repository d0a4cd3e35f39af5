"""What is read of an index, of the newest generation there is: get, count, ids, search, explain."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from .closing import Closing
from .documents import Document, Hit
from .search.explain import Explanation
from .search.hybrid import HybridLike
from .view import IndexView, Query


class Reading(Closing):
    """The reading methods of an index; each takes a snapshot of its own."""

    @abstractmethod
    def snapshot(self) -> IndexView:
        """A view of the newest generation that stays as it is; close it, or use `with`."""

    @overload
    def get(self, id: str) -> Document | None: ...
    @overload
    def get(self, id: list[str] | tuple[str, ...]) -> list[Document | None]: ...
    def get(self, id: str | list[str] | tuple[str, ...]) -> Document | list[Document | None] | None:
        """The document behind an id, or a list for a list of ids; None where there is none."""
        with self.snapshot() as view:
            return view.get(id)

    def count(self) -> int:
        """Number of documents."""
        with self.snapshot() as view:
            return view.count()

    def ids(self, *, filter: Mapping[str, Any] | None = None) -> Iterator[str]:
        """All document ids of the newest generation, or of those that match a filter."""
        with self.snapshot() as view:
            yield from view.ids(filter=filter)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.get(id) is not None

    def __len__(self) -> int:
        return self.count()

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
        """The best k documents for a query, best first.

        Args:
            query: a text, or query vectors float [nq, dim].
            k: hits wanted, 1 to 10,000. Fewer come back only when fewer documents match.
            filter: conditions on the metadata, applied before scoring: `{"year": {"$gte":
                2020}}`; operators `$eq $ne $gt $gte $lt $lte $in $nin $exists $contains
                $icontains $and $or $not`.
            group_by: "document" (a hit is a document with its best passage) or "passage".
            hybrid: how the ranking is fused with BM25's: None (not at all), "rrf" (reciprocal
                ranks), "weighted" or the weight of late interaction from 0 to 1, or a
                `weft.Hybrid`. Scores are then the fused ones.
            query_text: the words for BM25, where `query` is vectors or other words are meant.
            parameters: `effort` ("fast", "balanced", "exact"), and those that it chooses; see
                `docs/parameters.md`.

        Raises:
            InvalidQueryError: an empty query, one of another type, or vectors without the
                `query_text` that `hybrid` needs.
            InvalidParameterError: an unknown parameter, or one outside its range.
            InvalidInputError: `hybrid` on an index whose documents have no text.
            InvalidFilterError: a filter that is not understood.
            DimensionMismatchError: vectors of another dim.
            EncoderMismatchError: the index was made with another encoder.
        """
        with self.snapshot() as view:
            return view.search(
                query,
                k,
                filter=filter,
                group_by=group_by,
                hybrid=hybrid,
                query_text=query_text,
                **parameters,
            )

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
        """`search` for several queries on one generation, encoded together, one list each.

        Args:
            query_texts: one per query, or None; as `query_text` of `search`.
        """
        with self.snapshot() as view:
            return view.search_batch(
                queries,
                k,
                filter=filter,
                group_by=group_by,
                hybrid=hybrid,
                query_texts=query_texts,
                **parameters,
            )

    def explain(self, query: Query, id: str) -> Explanation:
        """Which token of a document's best passage each query token matched, and what it gave.

        Raises:
            InvalidDocumentError: no document has this id.
        """
        with self.snapshot() as view:
            return view.explain(query, id)
