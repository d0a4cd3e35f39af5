"""Metadata filters: parsed with limits, evaluated segment by segment as sets of documents.

    {"year": 1999}                                equal
    {"year": {"$gte": 1990, "$lt": 2000}}         all of them
    {"$or": [{"lang": "en"}, {"tags": {"$contains": "loom"}}]}
    {"author.name": {"$not": {"$in": ["A", "B"]}}}

A document without the key matches `$ne`, `$nin`, `$not` and `{"$exists": False}` only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .. import limits
from ..errors import InvalidFilterError
from ..shown import shown
from .segments import Mask, MetadataLookup

LOGICAL: Final = ("$and", "$or", "$not")
COMPARISONS: Final = (
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$contains",
    "$icontains", "$not",
)  # fmt: skip
NEGATED: Final = {"$ne": "$eq", "$nin": "$in"}


class Filter(ABC):
    """A condition on metadata; made by `parse_filter`."""

    @abstractmethod
    def documents(self, store: MetadataLookup) -> Mask:
        """Which documents of a segment satisfy it.

        Args:
            store: the segment's passages.

        Returns:
            bool [n_documents], tombstones not considered.
        """


@dataclass(frozen=True, slots=True)
class Leaf(Filter):
    """The document has the key, and its value satisfies an operator."""

    key: str
    operator: str
    operand: Any

    def documents(self, store: MetadataLookup) -> Mask:
        """Look the key up."""
        mask = np.zeros(len(store.id_table), dtype=np.bool_)
        mask[store.documents_where(self.key, self.operator, self.operand)] = True
        return mask


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """What the inner condition leaves out."""

    inner: Filter

    def documents(self, store: MetadataLookup) -> Mask:
        """The complement."""
        return ~self.inner.documents(store)


@dataclass(frozen=True, slots=True)
class All(Filter):
    """Every condition holds; with none, everything matches."""

    parts: tuple[Filter, ...]

    def documents(self, store: MetadataLookup) -> Mask:
        """The intersection."""
        mask = np.ones(len(store.id_table), dtype=np.bool_)
        for part in self.parts:
            if not mask.any():
                break
            mask &= part.documents(store)
        return mask


@dataclass(frozen=True, slots=True)
class AnyOf(Filter):
    """At least one condition holds."""

    parts: tuple[Filter, ...]

    def documents(self, store: MetadataLookup) -> Mask:
        """The union."""
        mask = np.zeros(len(store.id_table), dtype=np.bool_)
        for part in self.parts:
            mask |= part.documents(store)
        return mask


def parse_filter(specification: Mapping[str, Any]) -> Filter:
    """Turn a filter as callers write it into conditions.

    Args:
        specification: keys (nested ones joined by dots) to values or operators; several keys
            must all hold; `$and` and `$or` take lists of filters, `$not` takes one.

    Raises:
        InvalidFilterError: an unknown operator, an operand of the wrong type, nesting deeper
            than `MAX_FILTER_DEPTH` or more than `MAX_FILTER_CLAUSES` clauses.
    """
    return _Parser().parse(specification, 1)


class _Parser:
    """Walks one specification, counting its clauses."""

    def __init__(self) -> None:
        self._n_clauses = 0

    def parse(self, specification: object, depth: int) -> Filter:
        """One filter: an object of keys and logical operators."""
        self._descend(depth)
        if not isinstance(specification, Mapping):
            raise InvalidFilterError(
                f"A filter is an object such as {{'year': 1999}}, not {shown(specification)}."
            )
        parts = [self._entry(key, value, depth) for key, value in specification.items()]
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _entry(self, key: object, value: object, depth: int) -> Filter:
        _check_key(key)
        if key == "$not":
            return Not(self.parse(value, depth + 1))
        if key in ("$and", "$or"):
            return self._junction(key, value, depth)
        return self._field(str(key), value, depth)

    def _junction(self, operator: str, operand: object, depth: int) -> Filter:
        if not isinstance(operand, list | tuple) or not operand:
            raise InvalidFilterError(
                f"{operator} takes a list of at least one filter, not {shown(operand)}."
            )
        parts = tuple(self.parse(part, depth + 1) for part in operand)
        return All(parts) if operator == "$and" else AnyOf(parts)

    def _field(self, key: str, value: object, depth: int) -> Filter:
        """What stands under one key: a value to equal, or an object of operators."""
        if not isinstance(value, Mapping):
            return self._leaf(key, "$eq", value)
        self._descend(depth + 1)
        if not value:
            raise InvalidFilterError(
                f"Key {key!r} has an empty object: give it an operator, one of "
                f"{', '.join(COMPARISONS)}."
            )
        parts = [self._comparison(key, name, item, depth + 1) for name, item in value.items()]
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _comparison(self, key: str, operator: object, operand: object, depth: int) -> Filter:
        if operator not in COMPARISONS:
            hint = "" if str(operator).startswith("$") else f", or write '{key}.{operator}'"
            raise InvalidFilterError(
                f"Unknown operator {shown(operator)} under key {key!r}: use one of "
                f"{', '.join(COMPARISONS)}{hint}."
            )
        if operator == "$not":
            if not isinstance(operand, Mapping):
                raise InvalidFilterError(
                    f"$not under key {key!r} takes an object of operators, not {shown(operand)}: "
                    "use $ne for a value."
                )
            return Not(self._field(key, operand, depth))
        if operator in NEGATED:
            return Not(self._leaf(key, NEGATED[operator], operand))
        return self._leaf(key, str(operator), operand)

    def _leaf(self, key: str, operator: str, operand: object) -> Filter:
        self._count(1)
        _OPERANDS[operator](operator, operand)
        if operator == "$in":
            self._count(len(operand))  # type: ignore[arg-type]
            return Leaf(key, operator, list(operand))  # type: ignore[call-overload]
        if operator == "$exists":
            return Leaf(key, operator, True) if operand else Not(Leaf(key, operator, True))
        return Leaf(key, operator, operand)

    def _descend(self, depth: int) -> None:
        if depth > limits.MAX_FILTER_DEPTH:
            raise InvalidFilterError(
                f"The filter is nested deeper than {limits.MAX_FILTER_DEPTH} levels: flatten it."
            )

    def _count(self, n: int) -> None:
        self._n_clauses += n
        if self._n_clauses > limits.MAX_FILTER_CLAUSES:
            raise InvalidFilterError(
                f"The filter has more than {limits.MAX_FILTER_CLAUSES} clauses, elements of lists "
                "included: search several times, or mark the documents with a key of their own."
            )


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise InvalidFilterError(f"A filter's keys are non-empty strings, not {shown(key)}.")
    if key.startswith("$") and key not in LOGICAL:
        raise InvalidFilterError(
            f"Unknown operator {shown(key)} where a key is expected: the known ones are "
            f"{', '.join(LOGICAL)} here and {', '.join(COMPARISONS)} under a key."
        )
    _check_text(key)


def _check_value(operator: str, operand: object, depth: int = 0) -> None:
    """A JSON value: what metadata can hold."""
    if depth > limits.MAX_METADATA_DEPTH:
        raise InvalidFilterError(
            f"{operator} takes a value of at most "
            f"{limits.MAX_METADATA_DEPTH} levels, as metadata has."
        )
    if isinstance(operand, str):
        _check_text(operand)
    elif isinstance(operand, float) and not math.isfinite(operand):
        raise InvalidFilterError(
            f"{operator} cannot compare with {shown(operand)}: metadata has none."
        )
    elif isinstance(operand, Mapping):
        for key, value in operand.items():
            if not isinstance(key, str):
                raise InvalidFilterError(f"{operator}: {shown(key)} is no key of metadata.")
            _check_text(key)
            _check_value(operator, value, depth + 1)
    elif isinstance(operand, list | tuple):
        for value in operand:
            _check_value(operator, value, depth + 1)
    elif operand is not None and not isinstance(operand, bool | int | float):
        raise InvalidFilterError(
            f"{operator} cannot compare with {shown(operand)}: use text, numbers, booleans, None, "
            "lists or objects of them. Convert dates as in the metadata, with .isoformat()."
        )


def _check_ordered(operator: str, operand: object) -> None:
    if isinstance(operand, bool) or not isinstance(operand, int | float | str):
        raise InvalidFilterError(f"{operator} takes a number or a text, not {shown(operand)}.")
    _check_value(operator, operand)


def _check_list(operator: str, operand: object) -> None:
    if not isinstance(operand, list | tuple):
        raise InvalidFilterError(
            f"{operator} takes a list of values, not {shown(operand)}: write [value]."
        )
    if len(operand) <= limits.MAX_FILTER_CLAUSES:
        _check_value(operator, operand)


def _check_substring(operator: str, operand: object) -> None:
    if not isinstance(operand, str):
        raise InvalidFilterError(
            f"{operator} takes a text, not {shown(operand)}: use $contains for elements of lists."
        )
    _check_text(operand)


def _check_flag(operator: str, operand: object) -> None:
    if not isinstance(operand, bool):
        raise InvalidFilterError(f"{operator} takes True or False, not {shown(operand)}.")


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidFilterError(
            f"The filter holds a lone surrogate ({text[:40]!r}), which no metadata can: decode "
            "its source again as UTF-8."
        ) from error


_OPERANDS: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "$eq": _check_value,
    "$contains": _check_value,
    "$icontains": _check_substring,
    "$gt": _check_ordered,
    "$gte": _check_ordered,
    "$lt": _check_ordered,
    "$lte": _check_ordered,
    "$in": _check_list,
    "$exists": _check_flag,
}
