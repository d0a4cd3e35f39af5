"""The vector store: what most LangChain applications hold their documents in."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore

from ...engine.encoder.base import Encoder
from ...engine.errors import InvalidParameterError
from ...engine.index import Index
from ...engine.search.explain import Explanation
from ...engine.validation import check_ids
from ...workers import Client
from ..arguments import open_index, refuse_unknown
from ..writing import make_writing
from .documents import from_texts, from_weft, to_weft
from .search import Answer, answer
from .settings import DEFAULT_K, make_settings
from .unsupported import NoSingleVectors
from .vectorstore_retriever import WeftVectorStoreRetriever

Scored = list[tuple[Document, float]]
EncoderLike = str | Path | Encoder


class WeftVectorStore(NoSingleVectors, VectorStore):
    """A vector store that scores by late interaction: one vector per token, made by Weft itself.

        >>> store = WeftVectorStore("my-index")
        >>> store.add_texts(["Warp threads are held taut."], ids=["warp"])
        ['warp']
        >>> store.similarity_search("What is held taut?", k=1)[0].id
        'warp'

    Searches take `k`, `filter`, `score_key`, `explain_key`, `passage_key`, `group_by` and the
    search parameters of `Index.search`; what is not understood raises `InvalidParameterError`.

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

    def __init__(
        self,
        index: Index | str | Path,
        *,
        encoder: EncoderLike | None = None,
        client: Client | None = None,
        broker_url: str | None = None,
        queue: bool = False,
        wait: bool = True,
        wait_seconds: float | None = None,
    ) -> None:
        self.index = open_index(index, encoder, create=True)
        self._writing = make_writing(
            self.index,
            client=client,
            broker_url=broker_url,
            queue=queue,
            wait=wait,
            timeout=wait_seconds,
        )

    @property
    def embeddings(self) -> Embeddings | None:
        """None: the index's encoder makes one vector per token, which `Embeddings` cannot."""
        return None

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Add texts, replacing those whose id is there; they can be found afterwards.

        Args:
            texts: long ones are split into passages, never truncated.
            metadatas: one mapping of JSON values per text.
            ids: one per text; None stands for a random one.
            batch_size: texts per commit; None makes one commit of all.
            wait: False returns once the queue holds them; None is as constructed.

        Returns:
            Their ids, in order.

        Raises:
            InvalidDocumentError, DuplicateDocumentError: bad input; nothing was written.
            SubmissionFailedError, SubmissionPendingError: of the queue, see `weft.errors`.
            StorageError: the disk refused.
        """
        refuse_unknown(unknown, ("ids", "batch_size", "wait"), "add_texts")
        documents = from_texts(texts, metadatas, ids)
        self._writing.upsert(documents, batch_size=batch_size, wait=wait)
        return [document.id for document in documents]

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """`add_texts` without blocking the event loop."""
        refuse_unknown(unknown, ("ids", "batch_size", "wait"), "aadd_texts")
        documents = from_texts(texts, metadatas, ids)
        await self._writing.aupsert(documents, batch_size=batch_size, wait=wait)
        return [document.id for document in documents]

    def add_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Add documents, replacing those whose id is there; see `add_texts`.

        Args:
            documents: stay as they are; those without an id get a random one.
            ids: take the place of the documents' own.
            batch_size, wait: as of `add_texts`.
        """
        refuse_unknown(unknown, ("ids", "batch_size", "wait"), "add_documents")
        made = to_weft(documents, ids)
        self._writing.upsert(made, batch_size=batch_size, wait=wait)
        return [document.id for document in made]

    async def aadd_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """`add_documents` without blocking the event loop."""
        refuse_unknown(unknown, ("ids", "batch_size", "wait"), "aadd_documents")
        made = to_weft(documents, ids)
        await self._writing.aupsert(made, batch_size=batch_size, wait=wait)
        return [document.id for document in made]

    def delete(
        self, ids: list[str] | None = None, *, wait: bool | None = None, **unknown: Any
    ) -> bool:
        """Remove documents.

        Args:
            ids: unknown ones are no failure; None removes all that the newest generation holds.
            wait: as of `add_texts`.

        Returns:
            True: what cannot be removed raises.
        """
        refuse_unknown(unknown, ("wait",), "delete")
        self._writing.delete(self._writing.all_ids() if ids is None else ids, wait=wait)
        return True

    async def adelete(
        self, ids: list[str] | None = None, *, wait: bool | None = None, **unknown: Any
    ) -> bool:
        """`delete` without blocking the event loop."""
        refuse_unknown(unknown, ("wait",), "adelete")
        if ids is None:
            ids = await run_in_executor(None, self._writing.all_ids)
        await self._writing.adelete(ids, wait=wait)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents behind ids, in their order; unknown and repeated ids are left out."""
        found = self.index.get(list(dict.fromkeys(check_ids(ids))))
        return [from_weft(document) for document in found if document is not None]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """`get_by_ids` without blocking the event loop."""
        return await run_in_executor(None, self.get_by_ids, ids)

    def similarity_search(
        self, query: str, k: int = DEFAULT_K, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """The best k documents for a query, best first, as they were added.

        Args:
            query: a text.
            k: documents wanted.
            filter: conditions on metadata.
            kwargs: keys and search parameters, see the class.
        """
        return self._answer(query, k, filter, kwargs).documents

    async def asimilarity_search(
        self, query: str, k: int = DEFAULT_K, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """`similarity_search` without blocking the event loop."""
        return (await self._aanswer(query, k, filter, kwargs)).documents

    def similarity_search_with_score(
        self, query: str, k: int = DEFAULT_K, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Scored:
        """The best k documents with their MaxSim: higher is better, at most the query's vectors."""
        found = self._answer(query, k, filter, kwargs)
        return list(zip(found.documents, found.scores, strict=True))

    async def asimilarity_search_with_score(
        self, query: str, k: int = DEFAULT_K, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Scored:
        """`similarity_search_with_score` without blocking the event loop."""
        found = await self._aanswer(query, k, filter, kwargs)
        return list(zip(found.documents, found.scores, strict=True))

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> Scored:
        found = self._answer(query, k, kwargs.pop("filter", None), kwargs)
        return list(zip(found.documents, found.relevance, strict=True))

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> Scored:
        found = await self._aanswer(query, k, kwargs.pop("filter", None), kwargs)
        return list(zip(found.documents, found.relevance, strict=True))

    def explain(self, query: str, id: str) -> Explanation:
        """Which token of a document's best passage each query token matched, and what it gave."""
        return self.index.explain(query, id)

    def as_retriever(self, **kwargs: Any) -> WeftVectorStoreRetriever:
        """A retriever of this store, with `search_type` and `search_kwargs` as LangChain has them.

        Raises:
            NotImplementedError: `search_type="mmr"`.
        """
        if kwargs.get("search_type") == "mmr":
            self.max_marginal_relevance_search("")
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        return WeftVectorStoreRetriever(vectorstore=self, tags=tags, **kwargs)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | EncoderLike | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        index: Index | str | Path | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store that holds these texts.

        Args:
            texts, metadatas, ids: as of `add_texts`.
            embedding: a late-interaction encoder (folder, hub name or object), or None for the
                index's own.
            index: as of the constructor; None makes one in a temporary folder, which is removed
                when nothing holds the index any more.
            kwargs: of the constructor.

        Raises:
            InvalidParameterError: LangChain's `Embeddings`, which make one vector per text.
        """
        if isinstance(embedding, Embeddings):
            raise InvalidParameterError(
                f"embedding is a {type(embedding).__name__}, which makes one vector per text; late "
                "interaction needs one per token. Pass None for the default encoder, or the "
                "folder or hub name of a ColBERT checkpoint."
            )
        if index is None:
            folder = tempfile.mkdtemp(prefix="weft-")
            store = cls(folder, encoder=embedding, **kwargs)
            weakref.finalize(store.index, shutil.rmtree, folder, ignore_errors=True)
        else:
            store = cls(index, encoder=embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | EncoderLike | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        index: Index | str | Path | None = None,
        **kwargs: Any,
    ) -> Self:
        """`from_texts` without blocking the event loop."""
        return await run_in_executor(
            None, cls.from_texts, texts, embedding, metadatas, ids=ids, index=index, **kwargs
        )

    def _answer(
        self, query: str, k: int, filter: Mapping[str, Any] | None, given: Mapping[str, Any]
    ) -> Answer:
        return answer(self.index, query, make_settings({"k": k, "filter": filter, **given}))

    async def _aanswer(
        self, query: str, k: int, filter: Mapping[str, Any] | None, given: Mapping[str, Any]
    ) -> Answer:
        return await run_in_executor(None, self._answer, query, k, filter, given)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        raise NotImplementedError(
            "Relevance is a score divided by the number of the query's vectors, which no function "
            "of the score alone can know: use similarity_search_with_relevance_scores."
        )
