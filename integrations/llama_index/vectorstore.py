"""The vector store: what ingestion pipelines fill, and most LlamaIndex applications search."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from ...engine.encoder.base import Encoder
from ...engine.errors import InvalidParameterError, InvalidQueryError
from ...engine.index import Index
from ...engine.validation import check_ids
from ...workers import Client
from ..arguments import open_index, refuse_unknown
from ..writing import Writing, make_writing
from .filters import both, to_filter
from .modes import mode_of
from .nodes import REF_DOC_KEY, from_weft, to_weft
from .retriever import WeftRetriever
from .search import Question, make_question


class WeftVectorStore(BasePydanticVectorStore):
    """A vector store that scores by late interaction: one vector per token, made by Weft itself.

        >>> store = WeftVectorStore("my-index")
        >>> store.add([TextNode(id_="warp", text="Warp threads are held taut.")])
        ['warp']
        >>> store.query(VectorStoreQuery(query_str="What is held taut?")).ids
        ['warp']

    Embeddings of nodes and queries are not looked at. What is scored is a node's text without its
    metadata. Changes block until they are committed.

    Args:
        index: an open `weft.Index`, or a folder, which becomes one where it holds none.
        encoder: for a folder, as of `Index.open` and `Index.create`.
        client: submits changes to the index's queue, for workers to encode.
        broker_url: of the workers' Redis: makes such a client.
        queue: makes a client without Redis.
        wait: whether queued changes block until they are committed.
        wait_seconds: how long at most; None waits as long as it takes.

    Raises:
        InvalidParameterError: an argument that cannot be used.
        CorruptIndexError, EncoderMismatchError: as `Index.open`.
    """

    stores_text: bool = True
    is_embedding_query: bool = False

    _index: Index = PrivateAttr()
    _writing: Writing = PrivateAttr()

    def __init__(
        self,
        index: Index | str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        client: Client | None = None,
        broker_url: str | None = None,
        queue: bool = False,
        wait: bool = True,
        wait_seconds: float | None = None,
    ) -> None:
        super().__init__(stores_text=True, is_embedding_query=False)
        self._index = open_index(index, encoder, create=True)
        self._writing = make_writing(
            self._index,
            client=client,
            broker_url=broker_url,
            queue=queue,
            wait=wait,
            timeout=wait_seconds,
        )

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex knows it."""
        return "WeftVectorStore"

    @property
    def client(self) -> Index:
        """The index."""
        return self._index

    def as_retriever(self, **arguments: Any) -> WeftRetriever:
        """A retriever of this store; arguments as of `WeftRetriever`."""
        return WeftRetriever(self._index, **arguments)

    def add(
        self,
        nodes: Sequence[BaseNode],
        *,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Add nodes, replacing those whose id is there; they can be found afterwards.

        Args:
            nodes: stay as they are; all are checked before any is written.
            batch_size: nodes per commit; None makes one commit of all.
            wait: False returns once the queue holds them; None is as constructed.

        Returns:
            Their ids, in order.

        Raises:
            InvalidDocumentError, DuplicateDocumentError: bad input; nothing was written.
            SubmissionFailedError, SubmissionPendingError: of the queue, see `weft.errors`.
            StorageError: the disk refused.
        """
        refuse_unknown(unknown, ("batch_size", "wait"), "add")
        documents = to_weft(nodes)
        self._writing.upsert(documents, batch_size=batch_size, wait=wait)
        return [document.id for document in documents]

    async def async_add(
        self,
        nodes: Sequence[BaseNode],
        *,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """`add` without blocking the event loop."""
        refuse_unknown(unknown, ("batch_size", "wait"), "async_add")
        documents = to_weft(nodes)
        await self._writing.aupsert(documents, batch_size=batch_size, wait=wait)
        return [document.id for document in documents]

    def delete(self, ref_doc_id: str, *, wait: bool | None = None, **unknown: Any) -> None:
        """Remove the nodes that were cut from a document; none is no error.

        Args:
            ref_doc_id: of the document.
            wait: as of `add`.
        """
        refuse_unknown(unknown, ("wait",), "delete")
        self._writing.delete(self._cut_from(ref_doc_id), wait=wait)

    async def adelete(self, ref_doc_id: str, *, wait: bool | None = None, **unknown: Any) -> None:
        """`delete` without blocking the event loop."""
        refuse_unknown(unknown, ("wait",), "adelete")
        found = await asyncio.to_thread(self._cut_from, ref_doc_id)
        await self._writing.adelete(found, wait=wait)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        *,
        wait: bool | None = None,
        **unknown: Any,
    ) -> None:
        """Remove nodes that are named and match; None and None removes nothing.

        Args:
            node_ids: unknown ones are no error; None is all that match.
            filters: conditions on metadata; None is all that are named.
            wait: as of `add`.
        """
        refuse_unknown(unknown, ("wait",), "delete_nodes")
        self._writing.delete(self._chosen(node_ids, filters), wait=wait)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        *,
        wait: bool | None = None,
        **unknown: Any,
    ) -> None:
        """`delete_nodes` without blocking the event loop."""
        refuse_unknown(unknown, ("wait",), "adelete_nodes")
        chosen = await asyncio.to_thread(self._chosen, node_ids, filters)
        await self._writing.adelete(chosen, wait=wait)

    def clear(self) -> None:
        """Remove all nodes that the newest generation holds."""
        self._writing.delete(self._writing.all_ids())

    async def aclear(self) -> None:
        """`clear` without blocking the event loop."""
        await self._writing.adelete(await asyncio.to_thread(self._writing.all_ids))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Nodes that are named and match, as they were added.

        Args:
            node_ids: unknown ones are left out; the others come in their order. None is all.
            filters: conditions on metadata; None is all that are named.
        """
        with self._index.snapshot() as view:
            if node_ids is None:
                chosen = list(view.ids(filter=to_filter(filters)))
            else:
                chosen = list(dict.fromkeys(check_ids(node_ids)))
                if filters is not None:
                    matching = set(view.ids(filter=to_filter(filters)))
                    chosen = [id for id in chosen if id in matching]
            found = view.get(chosen)
        return [from_weft(one.id, one.text, one.metadata) for one in found if one is not None]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """`get_nodes` without blocking the event loop."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The best nodes for a query text, best first, with their MaxSim as similarities.

        Args:
            query: with `query_str`, `similarity_top_k`, and on request `filters`, `node_ids` and
                `doc_ids`, which are of the documents that nodes were cut from; empty lists
                restrict nothing. Of the modes it may name the default one, `HYBRID` (with
                `alpha`, `sparse_top_k` and `hybrid_top_k`), `SPARSE` and `TEXT_SEARCH`.
            kwargs: `effort`, `nprobe` and others of `Index.search`.

        Raises:
            InvalidQueryError: no text.
            NotImplementedError: another mode.
            InvalidFilterError, InvalidParameterError: what is not understood.
        """
        found = _question(query, kwargs).answer(self._index, _text(query))
        return VectorStoreQueryResult(
            nodes=[one.node for one in found],
            similarities=[one.get_score() for one in found],
            ids=[one.node_id for one in found],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """`query` without blocking the event loop."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _cut_from(self, ref_doc_id: str) -> list[str]:
        check_ids([ref_doc_id])
        return list(self._index.ids(filter={REF_DOC_KEY: ref_doc_id}))

    def _chosen(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> list[str]:
        if filters is None:
            return check_ids(node_ids or [])
        matching = self._index.ids(filter=to_filter(filters))
        if node_ids is None:
            return list(matching)
        return list(set(check_ids(node_ids)).intersection(matching))


def _question(query: VectorStoreQuery, parameters: dict[str, Any]) -> Question:
    filter = to_filter(query.filters)
    if query.doc_ids:
        filter = both(filter, {REF_DOC_KEY: {"$in": query.doc_ids}})
    k, hybrid = mode_of(query)
    if hybrid is not None:
        if parameters.get("hybrid") is not None:
            raise InvalidParameterError(
                f"mode is {query.mode.value!r} and hybrid is given as well: leave one out."
            )
        parameters = {**parameters, "hybrid": hybrid}
    # `VectorStoreIndex` passes an empty list of nodes for a store that holds their text.
    return make_question(k, filter, query.node_ids or None, parameters)


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise InvalidQueryError(
            "The query has no text: set query_str. An embedding is one vector, and late "
            "interaction needs one per token."
        )
    return query.query_str
