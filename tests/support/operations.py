"""Operations on an index and what a dictionary says it holds afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from storage_tools import DIM, add, document, make_batch

from weft.engine.documents import Document
from weft.engine.storage import create_index
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import Directory
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.manifest import IndexSettings
from weft.engine.storage.writer import Writer

State = Mapping[str, Document]

KINDS = {"add": 4, "upsert": 4, "delete": 3, "compact": 2, "maintain": 2, "collect": 1}
"""Kinds of operations, and how often each is chosen."""

FEW_TOKENS = 8
"""Size at which an index is compressed that is to be."""

GROWN_DOCUMENTS = 24

IDS = [f"d{number}" for number in range(12)]


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of an index.

    Args:
        name: of its kind.
        run: does it with a writer.
        after: what the index holds once it was done.
    """

    name: str
    run: Callable[[Writer], object]
    after: State

    def perform(self, writer: Writer) -> str:
        """Run it; what it was: "convert" if it has compressed the index for the first time."""
        was_coded = is_coded(writer)
        self.run(writer)
        return self.name if was_coded or not is_coded(writer) else "convert"


class Operations:
    """Makes operations at random, each one starting from the state the last one has left.

    Args:
        random: chooses kinds and documents.
        state: of the index before the first one.
        version: of documents that are there already; new ones have higher ones.
    """

    def __init__(self, random: Random, state: State | None = None, version: int = 0) -> None:
        self._random = random
        self._version = version
        self.state: State = {} if state is None else state

    def next(self, name: str | None = None) -> Operation:
        """An operation, of a kind that is chosen at random unless it is named."""
        chosen = name or self._random.choices(list(KINDS), list(KINDS.values()))[0]
        operation = getattr(self, f"_{chosen}")()
        self.state = operation.after
        return operation

    def overtaken(self) -> tuple[list[Document], Operation]:
        """Documents that are staged before an operation of another writer, and upserted after it.

        Returns:
            The documents, and the other writer's operation; `state` is what both have left.
        """
        late = self._new_documents(self._random.sample(IDS, 3))
        other = self.next()
        self.state = dict(other.after) | {d.id: d for d in late}
        return late, other

    def _new_documents(self, ids: list[str]) -> list[Document]:
        self._version += 1
        return [document(id, self._version) for id in ids]

    def _add(self) -> Operation:
        absent = [id for id in IDS if id not in self.state] or [f"new{self._version}"]
        count = self._random.randint(1, min(4, len(absent)))
        added = self._new_documents(self._random.sample(absent, count))
        after = dict(self.state) | {d.id: d for d in added}
        return Operation("add", lambda writer: add(writer, added), after)

    def _upsert(self) -> Operation:
        """Two segments and a deletion in one commit."""
        *changed, deleted = self._random.sample(IDS, 4)
        new = self._new_documents(changed)
        after = dict(self.state) | {d.id: d for d in new}
        after.pop(deleted, None)

        def run(writer: Writer) -> None:
            staged = [writer.stage(make_batch(part)) for part in (new[:2], new[2:])]
            writer.commit(staged, delete=[deleted], replace=True)

        return Operation("upsert", run, after)

    def _delete(self) -> Operation:
        ids = self._random.sample(IDS, 3)
        after = {id: d for id, d in self.state.items() if id not in ids}
        return Operation("delete", lambda writer: writer.commit([], delete=ids), after)

    def _compact(self) -> Operation:
        return Operation("compact", compact, self.state)

    def _maintain(self) -> Operation:
        return Operation("maintain", maintain, self.state)

    def _grow(self) -> Operation:
        """So many more embeddings that a codec trained before is outgrown."""
        added = self._new_documents([f"grown{number}" for number in range(GROWN_DOCUMENTS)])
        after = dict(self.state) | {d.id: d for d in added}
        return Operation("grow", lambda writer: add(writer, added), after)

    def _collect(self) -> Operation:
        grace = self._random.choice([0.0, 3600.0])
        return Operation(
            "collect", lambda writer: writer.collect(superseded_seconds=grace), self.state
        )


def is_coded(writer: Writer) -> bool:
    """Whether the index has a coded segment."""
    with writer.snapshot() as snapshot:
        return any(segment.kind == "coded" for segment in snapshot.segments)


def make_index(directory: Directory, *, coded: bool) -> None:
    """An empty index; a coded one is compressed once it has a few tokens and is maintained."""
    below = FEW_TOKENS if coded else 10**9
    settings = IndexSettings(bits=8, flat_below_tokens=below)
    create_index(directory, dim=DIM, encoder=None, settings=settings)


PREPARED = {
    "add": ("add", "add", "upsert", "delete"),
    "upsert": ("add", "add", "upsert", "delete"),
    "delete": ("add", "add", "upsert", "delete"),
    "compact": ("add", "upsert", "compact", "add", "upsert", "delete"),
    "convert": ("add", "upsert", "add", "delete"),
    "train": ("add", "upsert", "add", "delete"),
    "retrain": ("add", "maintain", "grow", "delete"),
    "collect": ("add", "compact", "upsert", "delete"),
}
"""What is done before an operation that is to be watched."""


def prepare(name: str, directory: Directory) -> tuple[State, Operation]:
    """Make an index with segments and tombstones, and an operation that is to be done next.

    Args:
        name: one of `PREPARED`: "convert" is a compaction that compresses, "train" and "retrain"
            are maintenance that trains a first codec, and a second one that takes its place.
        directory: of the index.

    Returns:
        What the index holds, and the operation.
    """
    make_index(directory, coded=name in ("compact", "convert", "train", "retrain"))
    operations = Operations(Random(name))
    with Writer(directory) as writer:
        for kind in PREPARED[name]:
            operations.next(kind).perform(writer)
    state = operations.state
    if name == "collect":  # something is to be removed, whatever is drawn
        return state, Operation(name, lambda writer: writer.collect(superseded_seconds=0), state)
    last = {"convert": "compact", "train": "maintain", "retrain": "maintain"}.get(name, name)
    return state, operations.next(last)
