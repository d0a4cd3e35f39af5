"""The document index: a retriever whose documents can be replaced, deleted and fetched by id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.indexing.base import DeleteResponse, DocumentIndex, UpsertResponse
from langchain_core.runnables.config import run_in_executor
from pydantic import InstanceOf

from ...engine.documents import Document as WeftDocument
from ...engine.encoder.base import Encoder
from ...engine.errors import InvalidParameterError
from ...engine.index import Index
from ...engine.validation import check_ids
from ...workers import Client
from ..arguments import open_index, refuse_unknown
from ..writing import Writing, make_writing
from .documents import from_weft, to_weft
from .retriever import WeftRetriever


class WeftDocumentIndex(WeftRetriever, DocumentIndex):
    """An index to which LangChain's indexing API writes, and a retriever of what it holds.

        >>> documents = WeftDocumentIndex("my-index")
        >>> documents.upsert([Document(id="warp", page_content="Warp threads are held taut.")])
        {'succeeded': ['warp'], 'failed': []}

    Args:
        index: an open `weft.Index`, or a folder, which becomes one where it holds none.
        encoder: for a folder, as of `Index.open` and `Index.create`.
        client: submits changes to the index's queue, for workers to encode.
        broker_url: of the workers' Redis: makes such a client.
        queue: makes a client without Redis.
        wait: whether queued changes block until they are committed.
        wait_seconds: how long at most; None waits as long as it takes.
        settings: of the retriever.

    Raises:
        InvalidParameterError, InvalidFilterError: an argument that is not understood.
        CorruptIndexError, EncoderMismatchError: as `Index.open`.
    """

    writing: InstanceOf[Writing]
    """How changes are made."""

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
        **settings: Any,
    ) -> None:
        opened = open_index(index, encoder, create=True)
        if "writing" not in settings:  # it is there when a runnable makes a copy of itself
            settings["writing"] = make_writing(
                opened,
                client=client,
                broker_url=broker_url,
                queue=queue,
                wait=wait,
                timeout=wait_seconds,
            )
        super().__init__(opened, **settings)

    def upsert(
        self,
        items: Sequence[Document],
        /,
        *,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> UpsertResponse:
        """Add documents, replacing those whose id is there; they can be found afterwards.

        Args:
            items: documents; those without an id get a random one. All are checked first.
            batch_size: documents per commit; None makes one commit of all.
            wait: False returns once the queue holds them; None is as constructed.

        Returns:
            All ids, in order, as succeeded: what cannot be added raises.

        Raises:
            InvalidDocumentError, DuplicateDocumentError: bad input; nothing was written.
            SubmissionFailedError, SubmissionPendingError: of the queue, see `weft.errors`.
            StorageError: the disk refused.
        """
        refuse_unknown(unknown, ("batch_size", "wait"), "upsert")
        documents = to_weft(items)
        self.writing.upsert(documents, batch_size=batch_size, wait=wait)
        return _upserted(documents)

    async def aupsert(
        self,
        items: Sequence[Document],
        /,
        *,
        batch_size: int | None = None,
        wait: bool | None = None,
        **unknown: Any,
    ) -> UpsertResponse:
        """`upsert` without blocking the event loop."""
        refuse_unknown(unknown, ("batch_size", "wait"), "aupsert")
        documents = to_weft(items)
        await self.writing.aupsert(documents, batch_size=batch_size, wait=wait)
        return _upserted(documents)

    def delete(
        self, ids: list[str] | None = None, *, wait: bool | None = None, **unknown: Any
    ) -> DeleteResponse:
        """Remove documents.

        Args:
            ids: of documents; unknown ones are no failure.
            wait: False returns once the queue holds the deletion; None is as constructed.

        Returns:
            Those that were there; nothing is said of that if nobody waited.

        Raises:
            InvalidParameterError: no ids: a vector store's `delete` removes all.
            InvalidDocumentError, StorageError, SubmissionFailedError, SubmissionPendingError:
                as `upsert`.
        """
        refuse_unknown(unknown, ("wait",), "delete")
        return _deleted(self.writing.delete(_named(ids), wait=wait))

    async def adelete(
        self, ids: list[str] | None = None, *, wait: bool | None = None, **unknown: Any
    ) -> DeleteResponse:
        """`delete` without blocking the event loop."""
        refuse_unknown(unknown, ("wait",), "adelete")
        return _deleted(await self.writing.adelete(_named(ids), wait=wait))

    def get(self, ids: Sequence[str], /, **unknown: Any) -> list[Document]:
        """The documents behind ids, in their order; unknown and repeated ids are left out."""
        refuse_unknown(unknown, (), "get")
        found = self.index.get(list(dict.fromkeys(check_ids(ids))))
        return [from_weft(document) for document in found if document is not None]

    async def aget(self, ids: Sequence[str], /, **unknown: Any) -> list[Document]:
        """`get` without blocking the event loop."""
        refuse_unknown(unknown, (), "aget")
        return await run_in_executor(None, self.get, ids)


def _upserted(documents: list[WeftDocument]) -> UpsertResponse:
    return {"succeeded": [document.id for document in documents], "failed": []}


def _named(ids: list[str] | None) -> list[str]:
    if ids is None:
        raise InvalidParameterError(
            "delete without ids removes nothing from a document index: name the documents, or "
            "use WeftVectorStore.delete(), which removes all."
        )
    return ids


def _deleted(ids: list[str] | None) -> DeleteResponse:
    if ids is None:
        return {"num_failed": 0, "failed": []}
    return {"num_deleted": len(ids), "succeeded": ids, "num_failed": 0, "failed": []}
