"""LangChain: a retriever, a vector store, a document index and a reranker.

    >>> from weft.integrations.langchain import WeftVectorStore
    >>> store = WeftVectorStore("my-index")
    >>> store.add_texts(["Warp threads are held taut."], ids=["warp"])
    ['warp']
    >>> store.as_retriever(search_kwargs={"k": 1}).invoke("What is held taut?")[0].id
    'warp'

Needs the extra `weft[langchain]`, which is `langchain-core` alone; see `docs/langchain.md`.
"""

from __future__ import annotations

from ...engine.errors import MissingDependencyError

try:
    import langchain_core as _core  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        "weft.integrations.langchain needs langchain-core: pip install 'weft[langchain]'."
    ) from error

from .document_index import WeftDocumentIndex
from .reranker import WeftReranker
from .retriever import WeftRetriever
from .vectorstore import WeftVectorStore
from .vectorstore_retriever import WeftVectorStoreRetriever

__all__ = [
    "WeftDocumentIndex",
    "WeftReranker",
    "WeftRetriever",
    "WeftVectorStore",
    "WeftVectorStoreRetriever",
]
