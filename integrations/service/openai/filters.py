"""OpenAI's filters on attributes, as filters of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....engine import limits
from ....engine.errors import InvalidFilterError
from ....engine.shown import shown

COMPARISONS: Final = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")


def translated(filter: object, depth: int = 1) -> dict[str, Any]:
    """The engine's filter that means the same.

    Args:
        filter: `{"type": "eq", "key": "year", "value": 2020}`, or `{"type": "and", "filters":
            [...]}`, nested.
        depth: at which it stands.

    Raises:
        InvalidFilterError: it is not understood, or nested too deeply. Of operands the engine
            itself tells what cannot be used.
    """
    if depth > limits.MAX_FILTER_DEPTH:
        raise InvalidFilterError(
            f"The filter is nested deeper than {limits.MAX_FILTER_DEPTH} levels: flatten it."
        )
    if not isinstance(filter, Mapping):
        raise InvalidFilterError(f"A filter is an object with a `type`, not {shown(filter)}.")
    kind = filter.get("type")
    if kind in ("and", "or"):
        return _compound(filter, str(kind), depth)
    if kind not in COMPARISONS:
        raise InvalidFilterError(
            f"The filter's type is {shown(kind)}: use and, or, {', '.join(COMPARISONS)}."
        )
    _only(filter, {"type", "key", "value"})
    return {_key(filter["key"]): {f"${kind}": filter["value"]}}


def _compound(filter: Mapping[str, Any], kind: str, depth: int) -> dict[str, Any]:
    _only(filter, {"type", "filters"})
    parts = filter["filters"]
    if not isinstance(parts, list) or not parts:
        raise InvalidFilterError(f"`{kind}` takes a list of filters, not {shown(parts)}.")
    if len(parts) > limits.MAX_FILTER_CLAUSES:
        raise InvalidFilterError(
            f"The filter has more than {limits.MAX_FILTER_CLAUSES} clauses: search several times."
        )
    return {f"${kind}": [translated(part, depth + 1) for part in parts]}


def _only(filter: Mapping[str, Any], names: set[str]) -> None:
    if set(filter) != names:
        raise InvalidFilterError(
            f"A filter of type {filter['type']!r} has the fields {', '.join(sorted(names))}, not "
            f"{shown(sorted(map(str, filter)))}."
        )


def _key(key: object) -> str:
    if not isinstance(key, str) or not key or key.startswith("$"):
        raise InvalidFilterError(f"{shown(key)} is no key of an attribute.")
    return key
