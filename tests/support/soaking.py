"""A writer and readers on one index for a while, each telling in a log what it did and saw."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from modelled_index import seeded, unit_rows

from weft import Index
from weft.engine.documents import Hit
from weft.engine.storage import reader as readers
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.generation import newest_generation
from weft.engine.storage.pins import Renewals
from weft.engine.view import IndexView

RENEW_SECONDS = 0.5
GRACE = {"superseded_seconds": 0.0, "staged_seconds": 5.0, "pin_seconds": 5.0}

N_IDS = 600
N_FIRST_IDS = 60
"""The index grows from so many documents to N_IDS, past the size at which its codec is trained
again."""

N_QUERIES = 6
K = 8

PAUSE_SECONDS = 0.01
"""Between two changes, so that readers see few generations within one call."""


@dataclass(frozen=True, slots=True)
class Soak:
    """One process of a soak.

    Args:
        path: of the index.
        log: of the process.
        name: of the process.
        seconds: how long it goes on.
    """

    path: str
    log: str
    name: str
    seconds: float


def rows_of(id: str, version: int) -> np.ndarray:
    """The vectors of a version of a document."""
    random = seeded("soak", id, version)
    return unit_rows(random, int(random.integers(1, 6)), grid=False)


def queries() -> list[np.ndarray]:
    """What is asked, again and again."""
    return [unit_rows(seeded("soak query", n), 1 + n % 3, grid=False) for n in range(N_QUERIES)]


@contextmanager
def _logged(soak: Soak) -> Iterator[Callable[..., None]]:
    readers.Renewals = partial(Renewals, seconds=RENEW_SECONDS)
    with Path(soak.log).open("w", encoding="utf-8") as file:
        yield lambda **line: print(json.dumps(line), file=file)


def write(soak: Soak) -> None:
    """Change, compact, maintain and collect; tell what each generation has changed.

    A line stands for one generation: `put` are ids with their versions, `delete` ids.
    """
    random, end, known = Random(soak.name), time.monotonic() + soak.seconds, set()
    with _logged(soak) as log, Index.open(soak.path, threads=1) as index:
        number = 0
        while time.monotonic() < end:
            number += 1
            _change(index, random, number, log)
            if number % 15 == 0:
                _tidy(index, number, partial(_tell_codecs, index, soak.log, known))
            time.sleep(PAUSE_SECONDS)


def _change(index: Index, random: Random, number: int, log: Callable[..., None]) -> None:
    present = min(N_IDS, N_FIRST_IDS + number)
    ids = random.sample([f"d{n}" for n in range(present)], random.randint(1, 4))
    ids += [f"d{present - 1}"] if number % 4 else []
    ids = list(dict.fromkeys(ids))
    if number % 4 == 0:
        deleted = index.delete(ids)
        if deleted.deleted:
            log(generation=deleted.generation, put={}, delete=deleted.deleted)
        return
    result = index.upsert(
        [f"version {number}"] * len(ids),
        ids=ids,
        metadata=[{"even": number % 2 == 0}] * len(ids),
        embeddings=[rows_of(id, number) for id in ids],
    )
    log(generation=result.generation, put=dict.fromkeys(ids, number), delete=[])


def _tidy(index: Index, number: int, tell_codecs: Callable[[], None]) -> None:
    """Compact now and then, otherwise maintain step by step, so that no codec is missed."""
    if number % 75 == 0:
        index.compact()
    else:
        while any(step.name != "collect" for step in index.maintain(max_steps=1).steps):
            tell_codecs()
    tell_codecs()
    with index._changes._writing() as writer:
        writer.collect(**GRACE)


def _tell_codecs(index: Index, log: str, known: set[str]) -> None:
    """Keep each codec beside the log, named by epoch, number of centroids and id."""
    with index.snapshot() as view:
        for ref in view.manifest.codecs:
            if ref.id not in known:
                known.add(ref.id)
                name = f"{log}.{ref.epoch}.{ref.n_centroids}.{ref.id}.npz"
                np.savez(name, **view.snapshot.codecs[ref.id].tensors())


def read(soak: Soak) -> None:
    """Ask, and tell the answer with the newest generations before and after the call.

    A snapshot taken at the start is asked the same all the while.
    """
    random, end = Random(soak.name), time.monotonic() + soak.seconds
    directory = LocalDirectory(soak.path)
    with (
        _logged(soak) as log,
        Index.open(soak.path, threads=1) as index,
        index.snapshot() as pinned,
    ):
        first = _everything(pinned)
        log(pinned=pinned.generation, answers=first)
        while time.monotonic() < end:
            for _ in range(20):
                kind, number = random.choice(list(ANSWERS)), random.randrange(N_QUERIES)
                before = newest_generation(directory)
                answer = ANSWERS[kind](index, number)
                after = newest_generation(directory)
                log(kind=kind, number=number, before=before, after=after, answer=answer)
            assert _everything(pinned) == first, "a pinned snapshot has changed"


def _told(hits: list[Hit]) -> list[Any]:
    """A hit as id, version and score."""
    return [(hit.id, int(hit.text.split()[1]), hit.score) for hit in hits]


def _search(index: Index | IndexView, number: int) -> Any:
    return _told(index.search(queries()[number], K, exact=True))


def _search_even(index: Index | IndexView, number: int) -> Any:
    return _told(index.search(queries()[number], K, filter={"even": True}, exact=True))


def _get(index: Index | IndexView, number: int) -> Any:
    """Documents of all ids together, so that halves of a commit would show."""
    found = index.get([f"d{n}" for n in range(N_IDS)])
    return [None if document is None else int(document.text.split()[1]) for document in found]


def _ids(index: Index | IndexView, number: int) -> Any:
    return sorted(index.ids())


def _count(index: Index | IndexView, number: int) -> Any:
    return index.count()


ANSWERS: dict[str, Callable[[Index | IndexView, int], Any]] = {
    "search": _search,
    "search even": _search_even,
    "get": _get,
    "ids": _ids,
    "count": _count,
}


def _everything(view: IndexView) -> dict[str, Any]:
    """All that can be asked of a snapshot."""
    return {f"{kind} {n}": ask(view, n) for kind, ask in ANSWERS.items() for n in range(N_QUERIES)}
