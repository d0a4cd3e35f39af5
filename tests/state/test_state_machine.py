"""Any history of an index leaves what a dictionary holds, and answers as brute force does."""

import shutil
from contextlib import suppress
from types import SimpleNamespace

import campaigns
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from modelled_index import DIM, Entry, ModelledIndex, seeded, unit_rows
from scratch import scratch_folder
from state_changes import FILTERS, IDS, batch_of, metadata, sequences_of
from storage_tools import DyingDirectory, Killed
from submissions import submit
from word_encoder import WordEncoder

from weft import Index
from weft.engine.documents import Document
from weft.engine.errors import DuplicateDocumentError
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.sweep import sweep
from weft.engine.storage.writer import Writer

FLAT = 10**9

ids = st.lists(st.sampled_from(IDS), max_size=4, unique=True)
some_ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True)
handles = st.integers(0, 1)


class Life(RuleBasedStateMachine):
    """Two `Index` objects on one folder, and the oracle; runs differ in kind, bits and sizes."""

    @initialize(
        bits=st.sampled_from([1, 2, 4, 8]),
        flat_below=st.sampled_from([1, 24, 60, FLAT]),
        encoded=st.booleans(),
        mmap=st.booleans(),
    )
    def create(self, bits, flat_below, encoded, mmap):
        self.folder = scratch_folder()
        self.encoder = WordEncoder(dim=DIM, document_maxlen=4, overlap=1) if encoded else None
        self.grid, self.bits = flat_below == FLAT and not encoded, bits
        self.flat_below, self.mmap = flat_below, mmap
        source = {"encoder": self.encoder} if encoded else {"dim": DIM}
        Index.create(
            self.folder / "index", bits=bits, flat_below_tokens=flat_below, **source
        ).close()
        self.handles = [self.open(), self.open()]
        self.writer = Writer(self.folder / "index", threads=1)
        self.staged = []
        self.died = False
        self.model = ModelledIndex(grid=self.grid)
        self.version = 0
        self.held, self.queue = [], []
        self.orders, self.clock = {}, 0
        self.generation = 1

    def open(self):
        path = self.folder / "index"
        return Index.open(path, encoder=self.encoder, mmap=self.mmap, threads=1)

    def entries(self, ids):
        self.version += 1
        return [self.entry(id, self.version) for id in ids]

    def entry(self, id, version):
        random = seeded(id, version)
        n_words = int(random.integers(1, 9))
        text = " ".join(f"w{n}" for n in random.integers(0, 30, n_words))
        document = Document(id, text, metadata(id, version), [None, "en", "de"][version % 3])
        if self.encoder is None:
            rows = unit_rows(random, int(random.integers(1, 5)), grid=self.grid)
            return Entry(document, (rows,), ((0, len(text)),))
        spans = tuple(self.encoder.split(text))
        passages = self.encoder.encode_passages([text[a:b] for a, b in spans])
        return Entry(document, tuple(passages), spans)

    def put(self, change, entries):
        """`add` or `upsert` of an index, with vectors where it has no encoder."""
        arrays = None if self.encoder else [entry.passages[0] for entry in entries]
        return change([entry.document for entry in entries], embeddings=arrays)

    def committed(self, generation, *, changed):
        """Generations count the changes, whichever object made them.

        A change that does nothing to any document is still one where an older change is yet to
        come, since it then decides which of the two counts.
        """
        assert generation == self.generation + 1 or (not changed and generation == self.generation)
        self.generation = generation

    def happened(self, order, entries, delete):
        """Apply a change to the model: of each document the youngest operation counts."""
        for id in delete:
            if order > self.orders.get(id, 0):
                self.orders[id] = order
                self.model.entries.pop(id, None)
        for entry in entries:
            id = entry.document.id
            if order >= self.orders.get(id, 0):
                self.orders[id] = order
                self.model.entries[id] = entry

    def now(self):
        self.clock += 1
        return self.clock

    @rule(handle=handles, ids=ids)
    def add(self, handle, ids):
        entries = self.entries(ids)
        if any(id in self.model.entries for id in ids):
            try:
                self.put(self.handles[handle].add, entries)
            except DuplicateDocumentError:
                return
            raise AssertionError("a duplicate was accepted")
        result = self.put(self.handles[handle].add, entries)
        assert (result.ids, result.replaced) == (ids, 0)
        assert result.n_passages == sum(len(entry.passages) for entry in entries)
        self.committed(result.generation, changed=bool(ids))
        self.happened(self.now(), entries, [])

    @rule(handle=handles, ids=ids)
    def upsert(self, handle, ids):
        entries = self.entries(ids)
        result = self.put(self.handles[handle].upsert, entries)
        assert result.replaced == len(set(ids) & set(self.model.entries))
        self.committed(result.generation, changed=bool(ids))
        self.happened(self.now(), entries, [])

    @rule(handle=handles, ids=some_ids)
    def delete(self, handle, ids):
        result = self.handles[handle].delete(ids)
        present = [id for id in ids if id in self.model.entries]
        assert result.deleted == present
        assert result.missing == [id for id in ids if id not in present]
        self.committed(result.generation, changed=bool(present))
        self.happened(self.now(), [], ids)

    def most_segments(self, handle):
        """Of 1 and 2 bits without text each codec keeps what was made with it and has drifted."""
        if self.bits >= 4 or self.encoder is not None:
            return 1
        with self.handles[handle].snapshot() as view:
            return max(1, sum(1 + len(codec.prefixes) for codec in view.manifest.codecs))

    @rule(handle=handles)
    def compact(self, handle):
        report = self.handles[handle].compact()
        self.committed(report.generation, changed=report.committed)
        self.look_at_codecs(handle)
        stats = self.handles[handle].stats()
        assert stats.n_segments <= self.most_segments(handle) and stats.n_deleted_documents == 0
        if stats.n_tokens >= self.flat_below:
            assert stats.codec is not None
        if stats.codec is not None:
            assert stats.n_flat_segments == 0

    @rule(handle=handles, steps=st.integers(1, 6))
    def maintain(self, handle, steps):
        for _ in range(steps):
            report = self.handles[handle].maintain(max_steps=1)
            n_commits = sum(step.name != "collect" for step in report.steps)
            assert report.generation == self.generation + n_commits
            self.generation += n_commits
            self.look_at_codecs(handle)
            if not n_commits:
                break

    def look_at_codecs(self, handle):
        with self.handles[handle].snapshot() as view:
            self.model.learn_codecs(view)

    @rule()
    def sweep(self):
        """No claim is in use between two steps: those that are there were left behind."""
        report = sweep(self.writer, lease_seconds=0)
        self.committed(report.generation, changed=report.committed)

    @rule(handle=handles)
    def collect(self, handle):
        with self.handles[handle]._changes._writing() as writer:
            writer.collect(superseded_seconds=0)

    @precondition(lambda self: len(self.staged) < 2)
    @rule(ids=some_ids)
    def stage(self, ids):
        """Documents that another writer commits later, whatever happens until then."""
        entries = self.entries(ids)
        self.staged.append((self.writer.stage(batch_of(entries)), entries))

    @precondition(lambda self: self.staged)
    @rule(delete=ids)
    def commit(self, delete):
        segment, entries = self.staged.pop(0)
        added = {entry.document.id: entry for entry in entries}
        present = self.model.entries
        result = self.writer.commit(segment, delete=delete, replace=True)
        assert set(result.added) == added.keys() - present.keys()
        assert set(result.replaced) == added.keys() & present.keys()
        assert set(result.deleted) == (set(delete) & present.keys()) - added.keys()
        assert set(result.missing) == set(delete) - present.keys() - added.keys()
        self.committed(result.generation, changed=True)
        self.happened(self.now(), entries, delete)

    @precondition(lambda self: self.staged)
    @rule()
    def discard(self):
        self.writer.discard(self.staged.pop()[0])

    @rule(ids=some_ids, calls=st.integers(0, 60), kind=st.sampled_from(["upsert", "delete"]))
    def die(self, ids, calls, kind):
        """A process ends within a change: the change took place, or it did not."""
        entries = self.entries(ids) if kind == "upsert" else []
        directory = DyingDirectory(LocalDirectory(self.folder / "index"), calls_left=10**9)
        with self.open() as index:
            dying = Index(directory, index._encoder, mmap=self.mmap, threads=1)
        directory.calls_left = calls
        with suppress(Killed):
            self.put(dying.upsert, entries) if entries else dying.delete(ids)
        self.died = directory.dead = True
        dying._reader._renewals.stop()
        with self.handles[0].snapshot() as view:
            took_place = view.generation > self.generation
            self.generation += took_place
            assert view.generation == self.generation
        if took_place:
            self.happened(self.now(), entries, ids)

    @precondition(lambda self: len(self.queue) < 4)
    @rule(ids=ids, delete=ids)
    def submit(self, ids, delete):
        """A change that has its place in the order, and is applied later."""
        entries = self.entries([id for id in ids if id not in delete])
        sequence = submit(self.writer, b"a change")
        self.queue.append(
            SimpleNamespace(
                order=self.now(), sequence=sequence, entries=entries, delete=delete, applied=False
            )
        )

    @precondition(lambda self: self.queue)
    @rule(data=st.data(), again=st.booleans())
    def apply(self, data, again):
        """Some of the queued changes, in any order, and perhaps delivered twice."""
        changes = data.draw(
            st.lists(st.sampled_from(self.queue), max_size=3, unique_by=lambda c: c.sequence)
        )
        staged = [
            self.writer.stage(batch_of(c.entries), sequences=sequences_of(c))
            for c in changes
            if c.entries
        ]
        delete = {}
        for change in sorted(changes, key=lambda c: c.sequence):
            delete |= dict.fromkeys(change.delete, change.sequence)
        completed = [change.sequence for change in changes]
        result = self.writer.commit_queued(staged, delete=delete, completed=completed)
        self.committed(result.generation, changed=not all(c.applied for c in changes))
        for change in changes:
            change.applied = True
            self.happened(change.order, change.entries, change.delete)
        if not again:
            self.queue = [change for change in self.queue if change not in changes]

    @precondition(lambda self: len(self.held) < 3)
    @rule(handle=handles)
    def hold(self, handle):
        self.held.append(SimpleNamespace(view=self.handles[handle].snapshot(), model=self.model))
        self.model = self.model.copy()

    @precondition(lambda self: self.held)
    @rule(n=st.integers(0, 2), query=st.integers(0, 99))
    def look_back(self, n, query):
        held = self.held[n % len(self.held)]
        self.check_all(held.view, held.model)
        held.model.check(held.view, self.query(query), exact=True)

    @precondition(lambda self: self.held)
    @rule()
    def let_go(self):
        held = self.held.pop(0)
        self.check_all(held.view, held.model)
        held.view.close()

    @rule(handle=handles)
    def reopen(self, handle):
        """Snapshots stay readable after their index was closed."""
        self.handles[handle].close()
        self.handles[handle] = self.open()
        with self.handles[handle].snapshot() as view:
            self.check_all(view, self.model)

    @rule(
        handle=handles,
        query=st.integers(0, 99),
        k=st.integers(1, 12),
        group_by=st.sampled_from(["document", "passage"]),
        filter=st.sampled_from(FILTERS),
        parameters=st.sampled_from(
            [{}, {"exact": True}, {"ndocs": 1, "nprobe": 1}, {"ndocs": 4, "nprobe": 2}]
        ),
    )
    def search(self, handle, query, k, group_by, filter, parameters):
        given, holds = filter(query % 30)
        with self.handles[handle].snapshot() as view:
            self.model.check(
                view,
                self.query(query),
                k=k,
                group_by=group_by,
                filter=given,
                matches=lambda document: holds(document.metadata),
                **parameters,
            )

    def query(self, number):
        if self.encoder is None:
            return unit_rows(seeded("query", number), 1 + number % 3, grid=self.grid)
        words = seeded("query", number).integers(0, 30, 1 + number % 3)
        return self.encoder.encode_queries([" ".join(f"w{n}" for n in words)])[0]

    @invariant()
    def equals_the_dictionary(self):
        for handle in self.handles:
            with handle.snapshot() as view:
                assert view.generation == self.generation
                assert view.count() == len(self.model.entries)
        with self.handles[self.version % 2].snapshot() as view:
            ids = list(view.ids())
            assert len(ids) == len(set(ids)) and set(ids) == set(self.model.entries)
            self.model.check(view, self.query(self.version), k=4, exact=True)

    def check_all(self, view, model):
        """Everything that can be asked without a query."""
        documents = model.documents()
        assert sorted(view.ids()) == sorted(documents) and view.count() == len(documents)
        assert view.get([*IDS, "nobody"]) == [documents.get(id) for id in [*IDS, "nobody"]]
        entries = model.entries.values()
        assert view.snapshot.n_passages == sum(len(entry.passages) for entry in entries)
        n_tokens = sum(len(rows) for entry in entries for rows in entry.passages)
        assert view.snapshot.n_tokens == n_tokens

    def teardown(self):
        if not hasattr(self, "folder"):
            return
        try:
            self.end()
        finally:
            shutil.rmtree(self.folder)

    def end(self):
        for held in self.held:
            self.check_all(held.view, held.model)
            held.view.close()
        with self.handles[0].snapshot() as view:
            self.check_all(view, self.model)
        report = self.handles[0].check()
        assert report.ok, report.damage
        for handle in [*self.handles, self.writer]:
            handle.close()
        assert self.died or not any((self.folder / "index" / "pins").iterdir())


Life.TestCase.settings = settings(
    max_examples=campaigns.size(100, 2000),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
TestLife = Life.TestCase
