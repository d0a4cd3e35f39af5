"""Everything that can be asked of an index, asked of one that an attacker wrote."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import weft
from weft.engine.errors import WeftError

from .sample_index import DIM, unit_rows
from .source import Source

FILTERS: tuple[dict[str, Any], ...] = (
    {"n": {"$gte": 3}},
    {"tags": {"$contains": "a"}},
    {"deep.b": True},
    {"x": {"$lt": 5}, "n": {"$nin": [1, 2]}},
    {"$not": {"n": {"$exists": True}}},
)
PARAMETERS: tuple[dict[str, Any], ...] = (
    {},
    {"exact": True, "k": 100},
    {"nprobe": 1, "ndocs": 2, "k": 1},
    {"nprobe": 2, "ndocs": 4, "k": 3, "centroid_score_threshold": 0.1, "group_by": "passage"},
)


def attempt(question: Callable[[], object]) -> Any:
    """Ask; None where the answer is a refusal by name."""
    try:
        return question()
    except WeftError:
        return None


def use(path: Path, source: Source, *, dim: int = DIM, mmap: bool = True) -> None:
    """Open an index and ask it everything; only `WeftError` may come back."""
    index = attempt(lambda: weft.Index.open(path, threads=1, mmap=mmap))
    if index is None:
        return
    with index:
        view = attempt(index.snapshot)
        if view is not None:
            with view:
                _ask(view, source, dim)
        attempt(index.stats)


def _ask(view: Any, source: Source, dim: int) -> None:
    query = unit_rows(3, source.below(4), dim)
    ids = attempt(lambda: list(islice(view.ids(), 200))) or ["d0"]
    attempt(view.count)
    attempt(lambda: view.get([*ids[:50], "nobody"]))
    attempt(lambda: view.get(ids[-1]))
    hits = [attempt(lambda p=p: view.search(query, **p)) for p in PARAMETERS]
    for filter in FILTERS:
        attempt(lambda f=filter: view.search(query, filter=f))
    for id in {*ids[:2], *(hit.id for found in hits for hit in (found or ())[:1])}:
        attempt(lambda i=id: view.explain(query, i))


def maintain(path: Path) -> None:
    """Let an index be changed, compacted and collected; only `WeftError` may come back."""
    index = attempt(lambda: weft.Index.open(path, threads=1))
    if index is None:
        return
    with index:
        dim = index.snapshot().manifest.dim
        attempt(lambda: index.upsert(ids=["d0", "new"], embeddings=[unit_rows(2, 1, dim)] * 2))
        attempt(lambda: index.delete(["d1", "nobody"]))
        for name in ("compact", "maintain", "check"):
            if hasattr(index, name):
                attempt(getattr(index, name))
