"""Writers whose calls can be held up at a chosen moment, and queued changes for them."""

from contextlib import contextmanager

import numpy as np
from storage_tools import add, contents, document, make_batch

from weft.engine.storage.claims import Waiting
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import submission_name
from weft.engine.storage.reader import Reader
from weft.engine.storage.sequences import Applied


class Hooked(LocalDirectory):
    """Runs a function once, before the first call of a kind on a name that begins so."""

    def __init__(self, path):
        super().__init__(path, durable=False)
        self.hooks = []

    def before(self, call, start, action):
        self.hooks.append((call, start, action))

    def _run(self, call, name):
        for hook in list(self.hooks):
            if hook[0] == call and name.startswith(hook[1]):
                self.hooks.remove(hook)
                hook[2]()

    @contextmanager
    def create(self, name, *, durable=True):
        self._run("create", name)
        with super().create(name, durable=durable) as file:
            yield file

    def publish(self, source, name):
        self._run("publish", name)
        super().publish(source, name)

    def touch(self, name):
        self._run("touch", name)
        super().touch(name)

    def remove(self, name):
        self._run("remove", name)
        super().remove(name)


def now(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return contents(snapshot)


def applied(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        manifest = snapshot.manifest
        assert manifest.next_sequence > Applied.of(manifest).highest
        return manifest.applied_floor, manifest.applied_above


def waiting(directory):
    """Sequences with a file in the inbox."""
    return list(Waiting(directory))


def tombstone_ids(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return {id: n for part in snapshot.tombstones for id, n in part.ids.items()}


def submit(directory, sequence):
    """What a queue leaves in the inbox: a file with content."""
    (directory.path / submission_name(sequence)).write_bytes(b"documents")


def stage(writer, *rows):
    """Stage documents given as (id, version, sequence)."""
    docs = [document(id, version) for id, version, _ in rows]
    numbers = np.array([sequence for _, _, sequence in rows], dtype=np.uint64)
    return writer.stage(make_batch(docs), sequences=numbers)


def deliver(writer, *rows, delete=None, completed=None):
    """Commit queued rows; by default they are all that their changes consist of."""
    everything = {sequence for _, _, sequence in rows} | set((delete or {}).values())
    staged = [stage(writer, *rows)] if rows else []
    chosen = everything if completed is None else completed
    return writer.commit_queued(staged, delete=delete, completed=chosen)


def upsert(writer, id, version):
    return add(writer, [document(id, version)], replace=True)
