"""The managed index: documents of LlamaIndex in, cut into nodes; inserted, updated, deleted."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.indices.managed.base import BaseManagedIndex
from llama_index.core.ingestion import arun_transformations, run_transformations
from llama_index.core.schema import BaseNode, Document, TransformComponent
from llama_index.core.storage.docstore.types import RefDocInfo

from ...engine.encoder.base import Encoder
from ...engine.errors import InvalidParameterError
from ...engine.index import Index
from ...workers import Client
from ..arguments import refuse_unknown
from .ingestion import has_text
from .nodes import REF_DOC_KEY, from_weft
from .retriever import WeftRetriever
from .search import PARAMETERS
from .vectorstore import WeftVectorStore

RETRIEVING = frozenset({*PARAMETERS, "k", "similarity_top_k", "filters", "object_map", "verbose"})
"""What of the arguments of a query engine is its retriever's."""


class WeftIndex(BaseManagedIndex):
    """An index whose nodes follow the documents that they were cut from.

        >>> index = WeftIndex("my-index")
        >>> index.insert(Document(id_="looms", text="Warp threads are held taut."))
        >>> index.as_retriever(k=1).retrieve("What is held taut?")[0].node.ref_doc_id
        'looms'

    All that it knows is in the index on disk: what another process inserts can be updated and
    deleted here, and no document store has to be kept beside it.

    Args:
        index: an open `weft.Index`, or a folder, which becomes one where it holds none.
        nodes: to begin with.
        encoder: for a folder, as of `Index.open` and `Index.create`.
        transformations: that cut documents into nodes; None are those of LlamaIndex's settings.
        show_progress: while documents are cut.
        callback_manager: of LlamaIndex.
        client, broker_url, queue, wait, wait_seconds: as of `WeftVectorStore`.

    Raises:
        InvalidParameterError: an argument that cannot be used.
        CorruptIndexError, EncoderMismatchError: as `Index.open`.
    """

    index_struct_cls = IndexDict

    def __init__(
        self,
        index: Index | str | Path,
        nodes: Sequence[BaseNode] | None = None,
        *,
        encoder: str | Path | Encoder | None = None,
        transformations: list[TransformComponent] | None = None,
        show_progress: bool = False,
        callback_manager: CallbackManager | None = None,
        client: Client | None = None,
        broker_url: str | None = None,
        queue: bool = False,
        wait: bool = True,
        wait_seconds: float | None = None,
    ) -> None:
        self._store = WeftVectorStore(
            index,
            encoder=encoder,
            client=client,
            broker_url=broker_url,
            queue=queue,
            wait=wait,
            wait_seconds=wait_seconds,
        )
        super().__init__(
            nodes=list(nodes or []),
            show_progress=show_progress,
            callback_manager=callback_manager,
            transformations=transformations,
        )

    @classmethod
    def from_documents(  # type: ignore[override]
        cls, documents: Sequence[Document], index: Index | str | Path, **arguments: Any
    ) -> WeftIndex:
        """An index that holds these documents, those of them anew that it holds already.

        Args:
            documents: of LlamaIndex.
            index: as of the constructor.
            arguments: of the constructor.
        """
        made = cls(index, **arguments)
        for document in documents:
            made.update_ref_doc(document)
        return made

    @property
    def vector_store(self) -> WeftVectorStore:
        """The same index as a vector store."""
        return self._store

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Cut a document into nodes and add them, without those that have no text."""
        self.insert_nodes(self._cut(document), **insert_kwargs)

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        """`insert` without blocking the event loop."""
        await self.ainsert_nodes(await self._acut(document), **insert_kwargs)

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Add nodes, replacing those whose id is there; arguments as of the store's `add`."""
        self._store.add(nodes, **insert_kwargs)

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """`insert_nodes` without blocking the event loop."""
        await self._store.async_add(nodes, **insert_kwargs)

    def delete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Remove nodes; unknown ones are no error. There is no document store to delete from."""
        self._store.delete_nodes(node_ids, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """`delete_nodes` without blocking the event loop."""
        await self._store.adelete_nodes(node_ids, **delete_kwargs)

    def delete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Remove all nodes that were cut from a document; none is no error."""
        self._store.delete(ref_doc_id, **delete_kwargs)

    async def adelete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """`delete_ref_doc` without blocking the event loop."""
        await self._store.adelete(ref_doc_id, **delete_kwargs)

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Replace the nodes of a document, or insert it.

        The new nodes are committed before the old ones go: at no time is the document missing.

        Args:
            document: of LlamaIndex; its id says which nodes go.
            update_kwargs: `insert_kwargs` and `delete_kwargs`, for the store.
        """
        refuse_unknown(update_kwargs, ("insert_kwargs", "delete_kwargs"), "update_ref_doc")
        nodes = self._cut(document)
        old = self._node_ids(document.id_)
        self.insert_nodes(nodes, **update_kwargs.get("insert_kwargs", {}))
        gone = list(old - {node.node_id for node in nodes})
        self.delete_nodes(gone, **update_kwargs.get("delete_kwargs", {}))

    async def aupdate_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """`update_ref_doc` without blocking the event loop."""
        refuse_unknown(update_kwargs, ("insert_kwargs", "delete_kwargs"), "aupdate_ref_doc")
        nodes = await self._acut(document)
        old = await asyncio.to_thread(self._node_ids, document.id_)
        await self.ainsert_nodes(nodes, **update_kwargs.get("insert_kwargs", {}))
        gone = list(old - {node.node_id for node in nodes})
        await self.adelete_nodes(gone, **update_kwargs.get("delete_kwargs", {}))

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Update the documents that have changed and insert those that are not there.

        Returns:
            Per document whether it was written.
        """
        stale = [self._is_stale(document) for document in documents]
        for document, wanted in zip(documents, stale, strict=True):
            if wanted:
                self.update_ref_doc(document, **update_kwargs)
        return stale

    async def arefresh_ref_docs(
        self, documents: Sequence[Document], **update_kwargs: Any
    ) -> list[bool]:
        """`refresh_ref_docs` without blocking the event loop."""
        stale = [await asyncio.to_thread(self._is_stale, document) for document in documents]
        for document, wanted in zip(documents, stale, strict=True):
            if wanted:
                await self.aupdate_ref_doc(document, **update_kwargs)
        return stale

    @property
    def ref_doc_info(self) -> dict[str, RefDocInfo]:
        """Of each document its nodes, and the metadata that came with it."""
        found: dict[str, RefDocInfo] = {}
        for node in self._store.get_nodes():
            source = node.source_node
            if source is not None:
                empty = RefDocInfo(metadata=dict(source.metadata))
                found.setdefault(source.node_id, empty).node_ids.append(node.node_id)
        return found

    def as_retriever(self, **kwargs: Any) -> WeftRetriever:
        """A retriever of this index; arguments as of `WeftRetriever`, or `similarity_top_k`."""
        if "similarity_top_k" in kwargs:
            if "k" in kwargs:
                raise InvalidParameterError("k and similarity_top_k are the same: leave one out.")
            kwargs["k"] = kwargs.pop("similarity_top_k")
        return WeftRetriever(
            self._store.client, **{"callback_manager": self._callback_manager, **kwargs}
        )

    def as_query_engine(self, llm: Any = None, **kwargs: Any) -> BaseQueryEngine:
        """A query engine: arguments as of `as_retriever` and `RetrieverQueryEngine.from_args`."""
        from llama_index.core.llms.utils import resolve_llm
        from llama_index.core.query_engine import RetrieverQueryEngine
        from llama_index.core.settings import Settings

        mine = {name: kwargs.pop(name) for name in [*kwargs] if name in RETRIEVING}
        known = set(inspect.signature(RetrieverQueryEngine.from_args).parameters)
        refuse_unknown(kwargs, (known | RETRIEVING) - {"retriever", "kwargs"}, "as_query_engine")
        return RetrieverQueryEngine.from_args(
            self.as_retriever(**mine),
            llm=Settings.llm if llm is None else resolve_llm(llm, self._callback_manager),
            **kwargs,
        )

    def build_index_from_nodes(self, nodes: Sequence[BaseNode], **build_kwargs: Any) -> IndexDict:
        """Add the nodes that the constructor was given."""
        return self._build_index_from_nodes(nodes, **build_kwargs)

    def _build_index_from_nodes(self, nodes: Sequence[BaseNode], **build_kwargs: Any) -> IndexDict:
        if nodes:
            self._store.add(nodes)
        return IndexDict()

    def _insert(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        self._store.add(nodes, **insert_kwargs)

    def _delete_node(self, node_id: str, **delete_kwargs: Any) -> None:
        self._store.delete_nodes([node_id], **delete_kwargs)

    def _cut(self, document: Document) -> list[BaseNode]:
        nodes = run_transformations(
            [document], self._transformations, show_progress=self._show_progress
        )
        return [node for node in nodes if has_text(node)]

    async def _acut(self, document: Document) -> list[BaseNode]:
        nodes = await arun_transformations(
            [document], self._transformations, show_progress=self._show_progress
        )
        return [node for node in nodes if has_text(node)]

    def _node_ids(self, ref_doc_id: str) -> set[str]:
        return set(self._store.client.ids(filter={REF_DOC_KEY: ref_doc_id}))

    def _is_stale(self, document: Document) -> bool:
        found = self._store.client.get(list(self._node_ids(document.id_)))
        nodes = [from_weft(one.id, one.text, one.metadata) for one in found if one is not None]
        sources = [node.source_node for node in nodes]
        return not nodes or any(s is None or s.hash != document.hash for s in sources)
