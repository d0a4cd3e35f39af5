"""The modes of a vector store's query: late interaction, BM25, or both."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from ...engine.errors import InvalidParameterError
from ...engine.search.hybrid import Hybrid, make_hybrid

BY_WORDS: Final = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)


def mode_of(query: VectorStoreQuery) -> tuple[int, Hybrid | None]:
    """How many nodes a query wants, and how their ranking is fused.

    `HYBRID` is reciprocal rank fusion, or the weighted one where `alpha` says how much late
    interaction counts, 0 to 1; `sparse_top_k` is the depth of the fusion and `hybrid_top_k` the
    number of nodes. `SPARSE` and `TEXT_SEARCH` are BM25 alone.

    Returns:
        k; the fusion, or None for late interaction alone.

    Raises:
        InvalidParameterError: `alpha`, `sparse_top_k` or `hybrid_top_k` without their mode, or out
            of range.
        NotImplementedError: another mode.
    """
    mode = VectorStoreQueryMode(query.mode)
    if mode == VectorStoreQueryMode.HYBRID:
        hybrid = make_hybrid("rrf" if query.alpha is None else query.alpha)
        return query.hybrid_top_k or query.similarity_top_k, _deep(hybrid, query.sparse_top_k)
    _refuse(query, "alpha", "hybrid_top_k")
    if mode in BY_WORDS:
        return query.sparse_top_k or query.similarity_top_k, make_hybrid(0)
    _refuse(query, "sparse_top_k")
    if mode == VectorStoreQueryMode.DEFAULT:
        return query.similarity_top_k, None
    raise NotImplementedError(
        f"mode is {mode.value!r}: Weft knows the default one (late interaction), hybrid, sparse "
        "and text_search."
    )


def _deep(hybrid: Hybrid | None, depth: int | None) -> Hybrid | None:
    return hybrid if hybrid is None or depth is None else replace(hybrid, depth=depth)


def _refuse(query: VectorStoreQuery, *names: str) -> None:
    for name in names:
        if getattr(query, name) is not None:
            raise InvalidParameterError(
                f"{name} is set, and mode is {query.mode.value!r}: use mode "
                "VectorStoreQueryMode.HYBRID, or leave it out."
            )
