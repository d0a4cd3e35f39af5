"""Harness of what a caller asks: vectors, parameters, ids and metadata filters."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

import weft

from .base import Harness
from .mutation import edited_array, edited_json, new_value
from .sample_index import build, unit_rows
from .source import Source
from .using import attempt

FILTERS: tuple[Any, ...] = (
    {"n": {"$gte": 3, "$lt": 20}},
    {"$or": [{"tags": {"$contains": "a"}}, {"$not": {"x": {"$in": [1.5, "a", None]}}}]},
    {"$and": [{"deep.b": True}, {"deep": {"k": None}}, {"n": {"$nin": [1, 2]}}]},
    {"n": {"$not": {"$exists": False}}},
    {"tags": ["a", 1]},
)
PARAMETERS: dict[str, Any] = {
    "k": 10,
    "nprobe": 2,
    "ndocs": 8,
    "exact": False,
    "centroid_score_threshold": 0.2,
    "group_by": "document",
    "threads": 1,
}


class Queries(Harness):
    """`search`, `search_batch`, `explain` and `get` with arguments of any type and value."""

    @cached_property
    def index(self) -> weft.Index:
        """A coded segment and flat ones with tombstones."""
        build(self.folder / "made")
        return weft.Index.open(self.folder / "made", threads=1)

    def run(self, data: bytes) -> None:
        source = Source(data)
        query: Any = unit_rows(1 + source.below(5), 1)
        filter: Any = source.choice(FILTERS)
        parameters: Any = PARAMETERS
        for _ in source.edits():
            part = source.below(4)
            if part == 0:
                query = _edited_query(source, query)
            elif part == 1:
                parameters = edited_json(source, parameters)
            else:
                filter = edited_json(source, filter)
        self._ask(query, _plain(filter), _plain(parameters), source)

    def _ask(self, query: Any, filter: Any, parameters: Any, source: Source) -> None:
        index = self.index
        given = parameters if isinstance(parameters, dict) else {}
        given = {str(key): _bounded(key, value) for key, value in given.items()}
        attempt(lambda: index.search(query))
        attempt(lambda: index.search(query, filter=filter))
        if not given.keys() & {"query", "filter", "self"}:
            attempt(lambda: index.search(query, filter=filter, **given))
            attempt(lambda: index.search_batch([query, query], **given))
        attempt(lambda: index.explain(query, "d1"))
        for id in (source.text(), new_value(source), [source.text()], filter):
            attempt(lambda i=id: index.get(i))
            attempt(lambda i=id: index.explain(unit_rows(2, 1), i))

    def close(self) -> None:
        """Close the index and remove it."""
        self.index.close()
        super().close()


def _bounded(key: str, value: Any) -> Any:
    """Threads within reason: each number of them makes a pool of its own."""
    return value % 4 if key == "threads" and type(value) is int and 0 <= value <= 256 else value


def _edited_query(source: Source, query: Any) -> Any:
    if source.flag(8):
        odd = (None, "", 7, b"bytes", [], [[]], {}, [[1, 2], [3]], np.float32(1), "query", [None])
        return source.choice(odd)
    return edited_array(source, query) if isinstance(query, np.ndarray) else query


def _plain(value: Any) -> Any:
    """The value with Python objects for what no JSON text of it could be."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and value.startswith("@raw"):
        odd = (10**400, float("nan"), float("inf"), b"bytes", object(), (1, 2), 1j, np.int64(3))
        return (*odd, _nested(40), _nested(5000))[int(value[4:-1]) % (len(odd) + 2)]
    return value


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value
