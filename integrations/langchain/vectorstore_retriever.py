"""What `WeftVectorStore.as_retriever` gives: LangChain's own retriever, with a native batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.vectorstores import VectorStoreRetriever

from ...engine.errors import WeftError
from .batching import BatchedRetriever, Documents
from .search import Answer, answer_all
from .settings import Settings, make_settings

if TYPE_CHECKING:
    from .vectorstore import WeftVectorStore

THRESHOLD = "similarity_score_threshold"


class WeftVectorStoreRetriever(BatchedRetriever, VectorStoreRetriever):
    """Searches a `WeftVectorStore` as its `search_type` and `search_kwargs` say."""

    allowed_search_types = ("similarity", THRESHOLD)

    def _retrieve(
        self, queries: Sequence[str], given: Sequence[Mapping[str, Any]]
    ) -> list[Documents | Exception]:
        told = [{**self.search_kwargs, **one} for one in given]
        lowest = [self._threshold(one) for one in told]
        store = cast("WeftVectorStore", self.vectorstore)
        outcomes = answer_all(store.index, queries, [_checked(one) for one in told])
        return [
            outcome if isinstance(outcome, WeftError) else _above(outcome, bound)
            for outcome, bound in zip(outcomes, lowest, strict=True)
        ]

    def _threshold(self, told: dict[str, Any]) -> float | None:
        """Take the threshold out of what is handed on, where the search type has one."""
        if self.search_type != THRESHOLD:
            return None
        bound: float | None = told.pop("score_threshold", None)
        return bound


def _checked(given: Mapping[str, Any]) -> Settings | WeftError:
    try:
        return make_settings(given)
    except WeftError as error:
        return error


def _above(found: Answer, bound: float | None) -> Documents:
    if bound is None:
        return found.documents
    pairs = zip(found.documents, found.relevance, strict=True)
    return [document for document, relevance in pairs if relevance >= bound]
