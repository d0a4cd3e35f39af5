"""What vector stores offer and late interaction does not have: each says why."""

from __future__ import annotations

from typing import Any, NoReturn

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

_BY_VECTOR = (
    "Weft scores one vector per token of the query, and a single embedding cannot stand for them: "
    "search by text, or give an array [vectors, dim] to weft.Index.search."
)
_MMR = (
    "Maximal marginal relevance compares documents by one vector each, and Weft keeps one per "
    "token: use similarity_search, or diversify what a larger k returns."
)


class NoSingleVectors(VectorStore):
    """Refuses what needs one vector per text."""

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Raise NotImplementedError: a query is not one vector."""
        _refuse(_BY_VECTOR)

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Raise NotImplementedError: a query is not one vector."""
        _refuse(_BY_VECTOR)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Raise NotImplementedError: a document is not one vector."""
        _refuse(_MMR)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Raise NotImplementedError: a document is not one vector."""
        _refuse(_MMR)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Raise NotImplementedError: neither is one vector."""
        _refuse(_MMR)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Raise NotImplementedError: neither is one vector."""
        _refuse(_MMR)


def _refuse(why: str) -> NoReturn:
    raise NotImplementedError(why)
