"""The reranker: MaxSim between a query and documents that are in no index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict

from ...engine.encoder import load_encoder
from ...engine.encoder.base import Encoder
from ...engine.errors import InvalidDocumentError, InvalidParameterError
from ...engine.reranking import score_texts
from ...engine.validation import check_integer, check_threads
from ..arguments import refuse_unknown


class WeftReranker(BaseDocumentCompressor):
    """Puts documents from anywhere into the order of their MaxSim with the query.

        >>> WeftReranker(top_n=3).compress_documents(documents, "What is held taut?")

    Long documents are split into passages, the best of which counts; nothing is truncated.

    Args:
        encoder: a folder, a hub name or an encoder object (`index.encoder` shares that of an
            index); None is weft-mini.
        top_n: documents that are kept; None keeps all.
        score_key: where the metadata of what is returned gets the score; None adds nothing.
        threads: for MaxSim; 0 is all cores.

    Raises:
        InvalidParameterError: an argument that is not understood.
        CheckpointError, MissingDependencyError: the encoder cannot be loaded.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    encoder: Any = None
    top_n: int | None = None
    score_key: str | None = None
    threads: int = 0

    def __init__(
        self,
        *,
        encoder: str | Path | Encoder | None = None,
        top_n: int | None = None,
        score_key: str | None = None,
        threads: int = 0,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, set(type(self).model_fields), type(self).__name__)
        if top_n is not None:
            check_integer("top_n", top_n, 1, 2**31)
        if score_key is not None and (not isinstance(score_key, str) or not score_key):
            raise InvalidParameterError(f"score_key is {score_key!r}: use a name, or None.")
        check_threads(threads)
        loaded = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
        fields = {"top_n": top_n, "score_key": score_key, "threads": threads}
        super().__init__(**{"encoder": loaded, **fields})

    def score(self, documents: Sequence[Document], query: str) -> list[float]:
        """MaxSim of each document with the query, in the order of the documents.

        Raises:
            InvalidQueryError: an empty query.
            InvalidDocumentError: something is no document.
        """
        for document in documents:
            if not isinstance(document, Document):
                raise InvalidDocumentError(
                    f"A {type(document).__name__} is no document: pass "
                    "langchain_core.documents.Document."
                )
        texts = [document.page_content for document in documents]
        scores: list[float] = score_texts(self.encoder, query, texts, threads=self.threads).tolist()
        return scores

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[Document]:
        """Copies of the best documents, best first; what was handed in stays as it is.

        Args:
            documents: in any order; of equal scores the earlier comes first.
            query: a text.
            callbacks: not used; nothing here is a run.

        Raises:
            InvalidQueryError, InvalidDocumentError: as `score`.
            InvalidParameterError: a document has metadata of its own under `score_key`.
        """
        scores = self.score(documents, query)
        order = np.argsort(-np.array(scores), kind="stable")[: self.top_n]
        return [self._copy(documents[n], scores[n]) for n in order.tolist()]

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[Document]:
        """`compress_documents` without blocking the event loop."""
        return await run_in_executor(None, self.compress_documents, documents, query, callbacks)

    def _copy(self, document: Document, score: float) -> Document:
        copy = document.model_copy(deep=True)
        if self.score_key is None:
            return copy
        if self.score_key in copy.metadata:
            raise InvalidParameterError(
                f"A document has metadata of its own under {self.score_key!r}: choose another "
                "score_key."
            )
        copy.metadata[self.score_key] = score
        return copy
