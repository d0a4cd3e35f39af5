"""LlamaIndex: a retriever, a vector store, a managed index, a reranker, a mark for pipelines.

    >>> from llama_index.core.schema import TextNode
    >>> from weft.integrations.llama_index import WeftVectorStore
    >>> store = WeftVectorStore("my-index")
    >>> store.add([TextNode(id_="warp", text="Warp threads are held taut.")])
    ['warp']
    >>> store.as_retriever(k=1).retrieve("What is held taut?")[0].node_id
    'warp'

Needs the extra `weft[llama-index]`, which is `llama-index-core` alone; see `docs/llama_index.md`.
"""

from __future__ import annotations

from ...engine.errors import MissingDependencyError

try:
    import llama_index.core as _core  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        "weft.integrations.llama_index needs llama-index-core: pip install 'weft[llama-index]'."
    ) from error

from .ingestion import WeftMarker
from .managed import WeftIndex
from .reranker import WeftRerank
from .retriever import WeftRetriever
from .vectorstore import WeftVectorStore

__all__ = ["WeftIndex", "WeftMarker", "WeftRerank", "WeftRetriever", "WeftVectorStore"]
