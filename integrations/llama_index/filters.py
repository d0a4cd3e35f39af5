"""Filters of LlamaIndex to filters of Weft, all of which apply before scoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from ...engine import limits
from ...engine.errors import InvalidFilterError
from ...engine.search.filters import parse_filter
from ...engine.shown import shown

Specification = dict[str, Any]

EVERYTHING: Final[Specification] = {}
"""A filter that all documents match."""

COMPARISONS: Final[Mapping[FilterOperator, str]] = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.CONTAINS: "$contains",
    FilterOperator.TEXT_MATCH: "$contains",
    FilterOperator.TEXT_MATCH_INSENSITIVE: "$icontains",
}
"""Operators that the engine has under another name."""


def to_filter(filters: MetadataFilters | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A filter as the engine takes it.

    They mean what `build_metadata_filter_fn` of LlamaIndex makes of them, nested ones included: a
    node without the key matches `!=`, `nin`, `is_empty` and what `not` encloses, and a group
    without filters matches everything. Where that raises (texts against numbers) or tells True
    from 1 not apart, nothing matches.

    Args:
        filters: of LlamaIndex, or already of Weft; None is all nodes.

    Raises:
        InvalidFilterError: a value that its operator cannot take, or too deep or too many.
    """
    if filters is None:
        return None
    if isinstance(filters, MetadataFilters):
        made = _group(filters, 1)
    elif isinstance(filters, Mapping):
        made = dict(filters)
    else:
        raise InvalidFilterError(
            f"filters is a {type(filters).__name__}: pass MetadataFilters, or a filter of Weft, "
            "such as {'year': 1999}."
        )
    parse_filter(made)
    return made


def both(
    one: Mapping[str, Any] | None, other: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """A filter that two filters must match."""
    if one is None or other is None:
        return one if other is None else other
    return {"$and": [one, other]}


def _group(filters: MetadataFilters, depth: int) -> Specification:
    if depth > limits.MAX_FILTER_DEPTH:
        raise InvalidFilterError(
            f"The filters are nested deeper than {limits.MAX_FILTER_DEPTH} levels: flatten them."
        )
    parts = [
        _group(part, depth + 1) if isinstance(part, MetadataFilters) else _leaf(part)
        for part in filters.filters
    ]
    if not parts:
        return EVERYTHING
    if filters.condition == FilterCondition.NOT:
        return {"$not": {"$or": parts}}
    if len(parts) == 1:
        return parts[0]
    return {"$or" if filters.condition == FilterCondition.OR else "$and": parts}


def _leaf(leaf: MetadataFilter) -> Specification:
    if leaf.operator == FilterOperator.IS_EMPTY:
        return {"$or": [{leaf.key: {"$exists": False}}, {leaf.key: {"$in": [None, "", []]}}]}
    if leaf.value is None:
        raise InvalidFilterError(
            f"The filter of key {leaf.key!r} by {leaf.operator.value!r} has no value: give it one, "
            "or use is_empty."
        )
    if leaf.operator in _LISTS:
        return _LISTS[leaf.operator](leaf.key, _values(leaf))
    if leaf.operator == FilterOperator.TEXT_MATCH and not isinstance(leaf.value, str):
        raise InvalidFilterError(f"text_match takes a text, not {shown(leaf.value)}.")
    return {leaf.key: {COMPARISONS[leaf.operator]: leaf.value}}


def _values(leaf: MetadataFilter) -> Sequence[Any]:
    if not isinstance(leaf.value, list):
        raise InvalidFilterError(
            f"{leaf.operator.value} takes a list, not {shown(leaf.value)}: write [value]."
        )
    return leaf.value


def _any(key: str, values: Sequence[Any]) -> Specification:
    return {"$or": [{key: {"$contains": value}} for value in values] or [{key: {"$in": []}}]}


def _all(key: str, values: Sequence[Any]) -> Specification:
    there = {"$exists": True, "$ne": None}
    return {"$and": [{key: there}, *({key: {"$contains": value}} for value in values)]}


_LISTS: Final[Mapping[FilterOperator, Callable[[str, Sequence[Any]], Specification]]] = {
    FilterOperator.ANY: _any,
    FilterOperator.ALL: _all,
}
