"""Queued and embedded changes in any order, delivered twice, against a dictionary.

The oracle knows of sequences only: it applies what was delivered, lowest first.
"""

import shutil
import tempfile

import numpy as np
from campaigns import FULL
from hooked import waiting
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_tools import contents, document, make_batch, new_index

from weft.engine.storage.compaction import compact
from weft.engine.storage.layout import submission_name
from weft.engine.storage.sequences import Applied
from weft.engine.storage.sweep import sweep
from weft.engine.storage.writer import Writer

IDS = [f"d{n}" for n in range(3)]

subsets = st.lists(st.sampled_from(IDS), max_size=2, unique=True)
submissions = st.lists(st.tuples(subsets, subsets), min_size=1, max_size=3)
picks = st.lists(st.integers(0, 50), min_size=1, max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), picks),
        st.tuples(st.just("deliver"), picks),
        st.tuples(st.just("in part"), picks),
        st.tuples(st.just("upsert"), subsets),
        st.tuples(st.just("delete"), subsets),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("sweep"), st.none()),
        st.tuples(st.just("collect"), st.none()),
    ),
    min_size=4,
    max_size=16,
)


class Played:
    """An index with a queue, and what each change was, by its sequence."""

    def __init__(self, path, queued):
        self.directory = new_index(path, flat_below_tokens=40)
        self.writers = [Writer(self.directory) for _ in range(2)]
        self.changes = {}
        self.delivered = []
        self.version = 0
        self.numbers = []
        for put, drop in queued:
            self._submit(put, [id for id in drop if id not in put])

    def _submit(self, put, drop):
        number = max([self._next(), *(n + 1 for n in waiting(self.directory))])
        (self.directory.path / submission_name(number)).write_bytes(b"documents")
        self.version += 1
        self.changes[number] = ({id: document(id, self.version) for id in put}, drop)
        self.numbers.append(number)

    def _next(self):
        with self.writers[0].snapshot() as snapshot:
            return snapshot.manifest.next_sequence

    def _chosen(self, picks):
        return list(dict.fromkeys(self.numbers[pick % len(self.numbers)] for pick in picks))

    def _commit_queued(self, numbers, parts, completed):
        """One segment per part, in which an id stands once."""
        writer = self.writers[len(numbers) % 2]
        staged = []
        for part in parts:
            rows = {}
            for number in part:
                for doc in self.changes[number][0].values():
                    rows.setdefault(doc.id, (number, doc))
            if rows:
                sequences = np.array([number for number, _ in rows.values()], dtype=np.uint64)
                batch = make_batch([doc for _, doc in rows.values()])
                staged.append(writer.stage(batch, sequences=sequences))
        delete = {}
        for number in sorted(numbers):
            delete |= dict.fromkeys(self.changes[number][1], number)
        writer.commit_queued(staged, delete=delete, completed=completed)

    def deliver(self, picks):
        numbers = self._chosen(picks)
        self._commit_queued(numbers, [[number] for number in numbers], numbers)
        self.delivered += [(number, *self.changes[number]) for number in numbers]

    def deliver_in_part(self, picks):
        """The rows of one change, without its deletions, and without completing it."""
        number = self._chosen(picks)[0]
        put, drop = self.changes[number]
        self.changes[number] = (put, [])
        self._commit_queued([number], [[number]], [])
        self.changes[number] = (put, drop)
        self.delivered.append((number, put, []))

    def embedded(self, put, drop):
        writer = self.writers[self.version % 2]
        self.version += 1
        docs = [document(id, self.version) for id in put]
        staged = [writer.stage(make_batch(docs))] if docs else []
        before = self._next()
        last = max([before - 1, *waiting(self.directory)])
        writer.commit(staged, delete=drop, replace=True)
        # Without a sequence of its own, it still comes after all that was there before.
        number = self._next() - 1 if self._next() > before else last + 0.5
        self.delivered.append((number, {doc.id: doc for doc in docs}, drop))

    def step(self, kind, argument):
        if kind == "deliver":
            self.deliver(argument)
        elif kind == "in part":
            self.deliver_in_part(argument)
        elif kind == "upsert":
            self.embedded(argument, [])
        elif kind == "delete":
            self.embedded([], argument)
        elif kind == "compact":
            compact(self.writers[0])
        elif kind == "sweep":
            sweep(self.writers[0], lease_seconds=0)
        else:
            self.writers[1].collect(superseded_seconds=0, staged_seconds=0)

    def check(self):
        expected = {}
        for _, put, drop in sorted(self.delivered, key=lambda change: change[0]):
            for id in drop:
                expected.pop(id, None)
            expected |= put
        for writer in self.writers:
            with writer.snapshot() as snapshot:
                assert contents(snapshot) == expected

    def finish(self):
        for _ in range(2):
            self.deliver(range(len(self.numbers)))
            self.check()
        with self.writers[0].snapshot() as snapshot:
            assert Applied.of(snapshot.manifest) == Applied(snapshot.manifest.next_sequence - 1)
        assert waiting(self.directory) == []
        for writer in self.writers:
            writer.close()


@settings(max_examples=1000 if FULL else 15, deadline=None)
@given(submissions, steps, submissions)
def test_any_order_of_delivery(queued, play, late):
    path = tempfile.mkdtemp()
    try:
        played = Played(f"{path}/index", queued)
        for at, (kind, argument) in enumerate(play):
            if at == len(play) // 2:
                for put, drop in late:
                    played._submit(put, [id for id in drop if id not in put])
            played.step(kind, argument)
            played.check()
        played.finish()
        played.writers = [Writer(played.directory)]
        played.check()
        played.writers[0].close()
    finally:
        shutil.rmtree(path)
