"""Searching for adapters: nodes with scores, for a query text."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llama_index.core.schema import NodeWithScore

from ...engine.documents import Hit
from ...engine.errors import InvalidParameterError
from ...engine.index import Index
from ...engine.search.plan import KNOWN, make_plan
from ...engine.view import IndexView
from .filters import both
from .nodes import ID_KEY, from_weft

DEFAULT_K: Final = 2
"""Nodes of a search; what LlamaIndex's own retrievers return."""

PARAMETERS: Final = tuple(name for name in KNOWN if name not in ("k", "group_by"))
"""What is handed on to `Index.search`; nodes are passages already, so that none groups them."""

IDS_AT_A_TIME: Final = 500
"""Ids of one filter, which has a limit of clauses."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an index; made by `make_question`, which checks it.

    Args:
        k: nodes wanted.
        filter: conditions on metadata, as of the engine.
        ids: of nodes among which to search; None is all.
        parameters: for `Index.search`.
    """

    k: int = DEFAULT_K
    filter: Mapping[str, Any] | None = None
    ids: Sequence[str] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, index: Index, query: str) -> list[NodeWithScore]:
        """The best nodes for a query, best first, all of one generation.

        Raises:
            InvalidQueryError: an empty query, or one of another type.
            CorruptIndexError: a document claims to be a node and is none.
        """
        with index.snapshot() as view:
            return [
                NodeWithScore(node=from_weft(hit.id, hit.text, hit.metadata), score=hit.score)
                for hit in self._hits(view, query)
            ]

    def _hits(self, view: IndexView, query: str) -> list[Hit]:
        if self.ids is None:
            return view.search(query, self.k, filter=self.filter, **self.parameters)
        ids = list(dict.fromkeys(self.ids))
        if self.parameters.get("hybrid") is not None:
            return self._fused_hits(view, query, ids)
        vectors = view.query_vectors([query])[0]
        found: list[Hit] = []
        for first in range(0, len(ids), IDS_AT_A_TIME):
            among = {ID_KEY: {"$in": ids[first : first + IDS_AT_A_TIME]}}
            filter = both(self.filter, among)
            found += view.search(vectors, self.k, filter=filter, **self.parameters)
        return heapq.nlargest(self.k, found, key=lambda hit: hit.score)

    def _fused_hits(self, view: IndexView, query: str, ids: list[str]) -> list[Hit]:
        """Among named nodes; fused scores of several searches could not be compared."""
        if len(ids) > IDS_AT_A_TIME:
            raise InvalidParameterError(
                f"A hybrid search among {len(ids):,} node_ids: name at most {IDS_AT_A_TIME}, or "
                "give the nodes a key of their own in the metadata and filter by it."
            )
        filter = both(self.filter, {ID_KEY: {"$in": ids}})
        return view.search(query, self.k, filter=filter, **self.parameters)


def make_question(
    k: int,
    filter: Mapping[str, Any] | None = None,
    ids: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Question:
    """Check what a search was told; see `Question`. A parameter that is None counts as left out.

    Raises:
        InvalidParameterError: an unknown parameter, or a value that cannot be used.
    """
    given = {} if parameters is None else parameters
    unknown = sorted(given.keys() - set(PARAMETERS))
    if unknown:
        raise InvalidParameterError(
            f"Unknown search parameter {', '.join(unknown)}: the known ones are "
            f"{', '.join(PARAMETERS)}."
        )
    chosen = {name: value for name, value in given.items() if value is not None}
    make_plan(k, **chosen)
    return Question(k, filter, ids, chosen)
