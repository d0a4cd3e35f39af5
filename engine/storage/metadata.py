"""The inverted metadata table: which documents hold a value under a key.

A row is `(key, role, kind, value, docno)`. Keys of nested objects are joined by dots. `role`
tells a value from an element of a list; `kind` keeps types apart, so that True is not 1 while 1
is 1.0. Lists and objects are stored as digests: they can be equal, but are not searched.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from ..errors import InvalidFilterError

Row = tuple[str, int, int, Any]

TABLE: Final = """
CREATE TABLE metadata(
    key TEXT NOT NULL, role INTEGER NOT NULL, kind INTEGER NOT NULL, value NOT NULL,
    docno INTEGER NOT NULL, PRIMARY KEY (key, role, kind, value, docno)
) WITHOUT ROWID
"""


class Role(IntEnum):
    """Whether a row is what stands under a key, or an element of a list that does."""

    VALUE = 0
    ELEMENT = 1


class Kind(IntEnum):
    """JSON types that are never equal to each other."""

    NULL = 0
    BOOLEAN = 1
    NUMBER = 2
    TEXT = 3
    LIST = 4
    OBJECT = 5


def metadata_rows(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[Row]:
    """The rows of one document, without its docno."""
    for name, value in metadata.items():
        key = f"{prefix}{name}"
        yield (key, Role.VALUE, *_stored(value))
        if isinstance(value, Mapping):
            yield from metadata_rows(value, f"{key}.")
        elif isinstance(value, list | tuple):
            yield from ((key, Role.ELEMENT, *_stored(element)) for element in value)


def _stored(value: Any) -> tuple[int, Any]:
    """Kind and SQLite value of a JSON value; equal values give equal pairs."""
    if value is None:
        return Kind.NULL, 0
    if isinstance(value, bool):
        return Kind.BOOLEAN, int(value)
    if isinstance(value, int | float):
        return Kind.NUMBER, _number(value)
    if isinstance(value, str):
        return Kind.TEXT, value
    kind = Kind.OBJECT if isinstance(value, Mapping) else Kind.LIST
    canonical = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
    return kind, hashlib.blake2b(canonical.encode(), digest_size=16).digest()


def _number(value: int | float) -> int | float:
    """A number that SQLite can hold; whole ones beyond 64 bits become the nearest float."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return _nearest_float(value)
    return value


def _nearest_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _canonical(value: Any) -> Any:
    """The same JSON value with whole floats as integers."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def documents_where(
    connection: sqlite3.Connection, key: str, operator: str, operand: Any
) -> set[int]:
    """The docnos of documents that have the key and whose value satisfies the operator.

    Args:
        connection: of a passages file.
        key: a metadata key, nested ones joined by dots.
        operator: `$eq $gt $gte $lt $lte $in $exists $contains` or `$icontains`.
        operand: what the value is compared with.

    Raises:
        InvalidFilterError: an unknown operator, or an operand it cannot take.
    """
    look_up = _OPERATORS.get(operator)
    if look_up is None:
        raise InvalidFilterError(
            f"No look-up for operator {operator!r}: use one of {sorted(_OPERATORS)}."
        )
    return look_up(connection, key, operand)


def _select(connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> set[int]:
    query = f"SELECT docno FROM metadata WHERE key = ? AND {where}"
    return {docno for (docno,) in connection.execute(query, values)}


def _equal(
    connection: sqlite3.Connection, key: str, operand: Any, role: Role = Role.VALUE
) -> set[int]:
    kind, value = _stored(operand)
    if kind == Kind.NUMBER and value != operand:
        return set()
    where = "role = ? AND kind = ? AND value = ?"
    return _select(connection, where, (key, role, kind, value))


def _in(connection: sqlite3.Connection, key: str, operand: Any) -> set[int]:
    if isinstance(operand, str | bytes) or not isinstance(operand, Sequence | set | frozenset):
        raise InvalidFilterError(f"$in takes a list, not {operand!r}: write [{operand!r}].")
    return set().union(*(_equal(connection, key, element) for element in operand))


def _exists(connection: sqlite3.Connection, key: str, operand: Any) -> set[int]:
    if operand is not True:
        raise InvalidFilterError(f"$exists looks up True, not {operand!r}.")
    return _select(connection, "role = ?", (key, Role.VALUE))


def _contains(connection: sqlite3.Connection, key: str, operand: Any) -> set[int]:
    found = _equal(connection, key, operand, Role.ELEMENT)
    if isinstance(operand, str):
        where = "role = ? AND kind = ? AND instr(value, ?) > 0"
        found |= _select(connection, where, (key, Role.VALUE, Kind.TEXT, operand))
    return found


def _contains_caseless(connection: sqlite3.Connection, key: str, operand: Any) -> set[int]:
    # SQLite's own lower() knows ASCII alone.
    query = "SELECT docno, value FROM metadata WHERE key = ? AND role = ? AND kind = ?"
    rows = connection.execute(query, (key, Role.VALUE, Kind.TEXT))
    wanted = operand.lower()
    return {docno for docno, value in rows if isinstance(value, str) and wanted in value.lower()}


def _ordered(symbol: str) -> Callable[[sqlite3.Connection, str, Any], set[int]]:
    def look_up(connection: sqlite3.Connection, key: str, operand: Any) -> set[int]:
        comparable = isinstance(operand, int | float | str) and not isinstance(operand, bool)
        if not comparable:
            return set()
        kind, value = _stored(operand)
        bound = _exact_bound(symbol, operand, value) if kind == Kind.NUMBER else symbol
        where = f"role = ? AND kind = ? AND value {bound} ?"
        return _select(connection, where, (key, Role.VALUE, kind, value))

    return look_up


def _exact_bound(symbol: str, wanted: int | float, stored: int | float) -> str:
    """The comparison with the stored operand that means the one with the wanted operand.

    They differ only for whole numbers beyond 64 bits, which lie between two floats.
    """
    if stored > wanted:
        return {"<": "<", "<=": "<", ">": ">=", ">=": ">="}[symbol]
    if stored < wanted:
        return {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}[symbol]
    return symbol


_OPERATORS: Final[Mapping[str, Callable[[sqlite3.Connection, str, Any], set[int]]]] = {
    "$eq": _equal,
    "$gt": _ordered(">"),
    "$gte": _ordered(">="),
    "$lt": _ordered("<"),
    "$lte": _ordered("<="),
    "$in": _in,
    "$exists": _exists,
    "$contains": _contains,
    "$icontains": _contains_caseless,
}
