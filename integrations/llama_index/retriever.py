"""The retriever: an index as LlamaIndex's query engines and agents take it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from ...engine.encoder.base import Encoder
from ...engine.index import Index
from ...engine.search.explain import Explanation
from ..arguments import open_index
from .filters import to_filter
from .search import DEFAULT_K, make_question


class WeftRetriever(BaseRetriever):
    """Finds nodes in an index by late interaction.

        >>> retriever = WeftRetriever("my-index", k=3)
        >>> retriever.retrieve("What is held taut?")[0].score
        5.21

    Scores are MaxSim: higher is better, at most the number of the query's vectors. Events and
    callbacks are those of every retriever.

    Args:
        index: an open `weft.Index`, or the folder of one.
        encoder: for a folder: where its encoder is now, if it is not where it was.
        k: nodes wanted, 1 to 10,000.
        filters: `MetadataFilters`, or a filter of Weft's own, applied before scoring.
        callback_manager: of LlamaIndex.
        object_map: what index nodes refer to, by `index_id`.
        verbose: tell of objects that are entered.
        parameters: `effort`, `nprobe` and others of `Index.search`.

    Raises:
        InvalidParameterError, InvalidFilterError: an argument that is not understood.
        IndexNotFoundError, CorruptIndexError, EncoderMismatchError: as `Index.open`.
    """

    def __init__(
        self,
        index: Index | str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        k: int = DEFAULT_K,
        filters: MetadataFilters | Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
        **parameters: Any,
    ) -> None:
        self._question = make_question(k, to_filter(filters), None, parameters)
        self.index = open_index(index, encoder, create=False)
        super().__init__(callback_manager, object_map, verbose=verbose)

    def explain(self, query: str, node_id: str) -> Explanation:
        """Which token of a node's text each query token matched, and what it gave."""
        return self.index.explain(query, node_id)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._question.answer(self.index, query_bundle.query_str)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
