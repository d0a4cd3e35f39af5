"""The retriever: an index as a LangChain runnable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict

from ...engine.encoder.base import Encoder
from ...engine.errors import WeftError
from ...engine.index import Index
from ...engine.search.explain import Explanation
from ...engine.search.hybrid import Hybrid
from ..arguments import open_index, refuse_unknown
from .batching import BatchedRetriever, Documents
from .search import answer, answer_all
from .settings import DEFAULT_K, NAMES, Settings, make_settings


class WeftRetriever(BatchedRetriever):
    """Finds documents in an index by late interaction.

        >>> retriever = WeftRetriever("my-index", k=3)
        >>> retriever.invoke("What is held taut?", filter={"year": {"$gte": 2020}})

    All fields from `k` on can be set in the constructor, in a call, and by a config
    (`retriever.with_config(configurable={"k": 5})`); what stands nearest to the call counts.

    Args:
        index: an open `weft.Index`, or the folder of one.
        encoder: for a folder: where its encoder is now, if it is not where it was.
        settings: the fields below, and those of every retriever (`tags`, `metadata`, `name`).

    Raises:
        InvalidParameterError, InvalidFilterError: an argument that is not understood.
        IndexNotFoundError, CorruptIndexError, EncoderMismatchError: as `Index.open`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    index: Index
    """What is searched."""
    k: int = DEFAULT_K
    """Documents wanted, 1 to 10,000."""
    filter: Mapping[str, Any] | None = None
    """Conditions on metadata, applied before scoring: `{"year": {"$gte": 2020}}`."""
    score_key: str | None = None
    """Where a document's metadata gets its score; None adds nothing."""
    explain_key: str | None = None
    """Likewise a list of matches: query token, token, start, end, contribution."""
    passage_key: str | None = None
    """Likewise the span of the passage that matched best: ordinal, start, end."""
    group_by: str | None = None
    """"document", or "passage": documents then hold the text of one passage each."""
    hybrid: Hybrid | str | float | Mapping[str, Any] | None = None
    """"rrf", "weighted", a weight, or a `weft.Hybrid`: fused with BM25; None is not."""
    effort: str | None = None
    """"fast", "balanced" or "exact"; this and what follows as of `Index.search`."""
    nprobe: int | None = None
    """Inverted lists taken per query vector."""
    ndocs: int | None = None
    """Passages that survive the first cut."""
    n_rescored: int | None = None
    """Of these, passages that are scored on their residuals."""
    exact: bool | None = None
    """Score every passage."""
    centroid_score_threshold: float | None = None
    """Of `algorithm="plaid"`: what centroids have to reach."""
    algorithm: str | None = None
    """"weft" or "plaid"."""
    threads: int | None = None
    """Of one query; of a batch each query takes one."""

    def __init__(
        self,
        index: Index | str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        **settings: Any,
    ) -> None:
        fields = set(type(self).model_fields)
        refuse_unknown(settings, fields - {"index"}, type(self).__name__)
        make_settings({name: settings[name] for name in NAMES if name in settings})
        opened = open_index(index, encoder, create=False)
        super().__init__(**{"index": opened, **settings})

    def explain(self, query: str, id: str) -> Explanation:
        """Which token of a document's best passage each query token matched, and what it gave."""
        return self.index.explain(query, id)

    def _settings(self, given: Mapping[str, Any]) -> Settings:
        return make_settings({name: getattr(self, name) for name in NAMES} | {**given})

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> Documents:
        return answer(self.index, query, self._settings(kwargs)).documents

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> Documents:
        found = await run_in_executor(None, answer, self.index, query, self._settings(kwargs))
        return found.documents

    def _retrieve(
        self, queries: Sequence[str], given: Sequence[Mapping[str, Any]]
    ) -> list[Documents | Exception]:
        outcomes = answer_all(self.index, queries, [self._checked(one) for one in given])
        return [
            outcome if isinstance(outcome, WeftError) else outcome.documents for outcome in outcomes
        ]

    def _checked(self, given: Mapping[str, Any]) -> Settings | WeftError:
        try:
            return self._settings(given)
        except WeftError as error:
            return error
