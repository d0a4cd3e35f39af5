"""Any history of changes leaves what a dictionary holds, live and reopened."""

import shutil

from campaigns import size
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from storage_tools import contents, document, make_batch, new_index

from weft.engine.errors import DuplicateDocumentError
from weft.engine.storage.compaction import compact
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

names = st.lists(st.sampled_from([f"d{n}" for n in range(12)]), max_size=5, unique=True)


class History(RuleBasedStateMachine):
    """An index that becomes coded at 60 tokens, beside a dictionary."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.path = tempfile.mkdtemp()
        self.directory = new_index(f"{self.path}/index", flat_below_tokens=60)
        self.writer = Writer(self.directory)
        self.reader = Reader(self.directory)
        self.model = {}
        self.version = 0
        self.held = []

    def batches(self, ids):
        self.version += 1
        docs = [document(id, self.version) for id in ids]
        parts = [part for part in (docs[:2], docs[2:]) if part]
        return docs, [self.writer.stage(make_batch(part)) for part in parts]

    @rule(ids=names)
    def add(self, ids):
        docs, staged = self.batches(ids)
        if any(id in self.model for id in ids):
            try:
                self.writer.commit(staged)
            except DuplicateDocumentError:
                return
            raise AssertionError("a duplicate was accepted")
        assert self.writer.commit(staged).added == tuple(ids)
        self.model |= {d.id: d for d in docs}

    @rule(ids=names, delete=names)
    def upsert(self, ids, delete):
        docs, staged = self.batches(ids)
        result = self.writer.commit(staged, delete=delete, replace=True)
        assert set(result.replaced) == set(ids) & set(self.model)
        assert set(result.deleted) == (set(delete) & set(self.model)) - set(ids)
        for id in delete:
            self.model.pop(id, None)
        self.model |= {d.id: d for d in docs}

    @rule(ids=names)
    def delete(self, ids):
        result = self.writer.commit([], delete=ids)
        assert set(result.deleted) == set(ids) & set(self.model)
        assert set(result.missing) == set(ids) - set(self.model)
        for id in ids:
            self.model.pop(id, None)

    @rule()
    def compact(self):
        compact(self.writer)
        with self.reader.snapshot() as snapshot:
            assert len(snapshot.segments) <= 1
            assert all(view.alive is None for view in snapshot.segments)

    @rule()
    def collect(self):
        self.writer.collect(superseded_seconds=0)

    @rule()
    def hold(self):
        if len(self.held) < 3:
            self.held.append((self.reader.snapshot(), dict(self.model)))

    @rule()
    def let_go(self):
        if self.held:
            snapshot, model = self.held.pop(0)
            assert contents(snapshot) == model
            snapshot.close()

    @rule()
    def reopen(self):
        for snapshot, model in self.held:
            assert contents(snapshot) == model
            snapshot.close()
        self.held = []
        self.writer.close()
        self.reader.close()
        self.writer = Writer(self.directory)
        self.reader = Reader(self.directory)

    @invariant()
    def equals_the_dictionary(self):
        with self.reader.snapshot() as snapshot:
            assert contents(snapshot) == self.model

    def teardown(self):
        for snapshot, model in self.held:
            assert contents(snapshot) == model
            snapshot.close()
        self.writer.close()
        self.reader.close()
        assert self.directory.list("pins") == []
        shutil.rmtree(self.path)


History.TestCase.settings = settings(
    max_examples=size(8, 500), stateful_step_count=15, deadline=None
)
TestHistory = History.TestCase
