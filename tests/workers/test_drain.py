"""Draining, without Redis: order, repetition, poison, dead letters; against a dictionary."""

import shutil
import tempfile
from pathlib import Path

import pytest
from draining import LIMITS, Dead, Failing, drain, inbox, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from word_encoder import WordEncoder

import weft
from weft import Document
from weft.engine.errors import StorageError
from weft.engine.storage.layout import INBOX
from weft.engine.storage.sequences import Applied
from weft.workers import BatchLimits, Client, dead_letters, drop, retry
from weft.workers.context import IngestContext
from weft.workers.drain import Drain
from weft.workers.leases import lease_name
from weft.workers.metrics import Observer
from weft.workers.selection import MAX_TRIES, Selection


def test_what_was_submitted_is_found(index, client, context):
    id = client.submit([Document("a", "warp threads", {"n": 1}), Document("b", "weft threads")])
    assert client.status(id).state == "queued"
    report = drain(context)
    assert (report.n_changes, report.n_documents, report.n_dead) == (1, 2, 0)
    assert client.status(id).state == "committed"
    assert index.search("warp", 1)[0].id == "a"
    assert index.get("a").metadata == {"n": 1}
    assert inbox(index) == []


def test_the_last_submission_wins_within_one_batch(index, client, context):
    client.submit([Document("a", "first"), Document("b", "stays")])
    client.submit(delete=["a"])
    client.submit([Document("a", "third")])
    client.submit([Document("c", "goes")])
    client.submit(delete=["c", "unknown"])
    assert drain(context).n_changes == 5
    assert texts(index) == {"a": "third", "b": "stays"}


def test_embedded_changes_take_part_in_the_order(index, client, context):
    index.add(["embedded"], ids=["a"])
    client.submit([Document("a", "queued")])
    index.upsert(["embedded later"], ids=["a"])
    drain(context)
    assert texts(index) == {"a": "embedded later"}


def test_batches_are_bounded(index, client, context):
    for n in range(10):
        client.submit([Document(f"d{n}", f"text {n}")])
    before = client.status("0000000000000001").generation
    report = drain(context, BatchLimits(operations=3))
    assert report.n_changes == 10
    assert client.status("0000000000000001").generation == before + 4


def test_a_large_submission_comes_alone(index, client, context):
    client.submit([Document(f"d{n}", "words " * 20) for n in range(50)])
    client.submit([Document("e", "few")])
    with Selection(context, BatchLimits(operations=8)).take() as taken:
        assert [len(change.submission.documents) for change in taken] == [50]


def test_time_is_up(index, client, context):
    client.submit([Document("a", "text")])
    report = Drain(context, LIMITS, Observer()).run(0)
    assert report.left == 1
    assert report.n_changes == 0


@pytest.mark.parametrize("n_documents", [1, 5])
def test_poison_is_set_aside_and_its_batch_mates_commit(index, client, n_documents):
    encoder = Failing()
    mates = [Document(f"mate{n}", "sound text") for n in range(n_documents - 1)]
    client.submit([Document("before", "sound")])
    bad = client.submit([Document("bad", "poison"), *mates])
    client.submit([Document("after", "sound")])
    with IngestContext(index.path, encoder=encoder) as context:
        report = drain(context)
    assert report.n_dead == 1
    assert set(texts(index)) == {"before", "after", *(mate.id for mate in mates)}
    assert encoder.attempts <= MAX_TRIES
    status = client.status(bad)
    assert status.state == "failed"
    assert list(status.reasons) == ["bad"]
    assert "cannot be encoded" in status.reasons["bad"]


def test_a_dead_letter_keeps_its_place_when_it_is_retried(index, client):
    with IngestContext(index.path, encoder=Failing()) as context:
        client.submit([Document("a", "poison old"), Document("b", "poison")])
        drain(context)
        client.submit([Document("a", "younger")])
        client.submit([Document("c", "x")])
        client.submit(delete=["c"])
        drain(context)
    (letter,) = dead_letters(index.path)
    assert set(letter.reasons) == {"a", "b"}
    retry(index.path, [letter.sequence])
    assert dead_letters(index.path) == []
    with IngestContext(index.path, encoder=WordEncoder()) as context:
        assert drain(context).n_changes == 1
    assert texts(index) == {"a": "younger", "b": "poison"}
    assert inbox(index) == []


def test_a_dropped_dead_letter_is_never_applied(index, client):
    with IngestContext(index.path, encoder=Failing()) as context:
        client.submit([Document("a", "poison"), Document("b", "sound")])
        drain(context)
        drop(index.path, [letter.sequence for letter in dead_letters(index.path)])
        assert inbox(index) == []
        drain(context)
        client.submit([Document("c", "goes on")])
        drain(context)
    assert texts(index) == {"b": "sound", "c": "goes on"}


def test_what_is_poison_does_not_hide_an_older_change(index, client):
    client.submit([Document("a", "older")])
    client.submit([Document("a", "poison")])
    with IngestContext(index.path, encoder=Failing()) as context:
        drain(context)
    assert texts(index) == {"a": "older"}
    drop(index.path, [2])
    assert texts(index) == {"a": "older"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"nonsense", "no JSON"), (b'{"weft_submission":9}\n', "format 9"), (b"\xff" * 99, "no JSON")],
)
def test_foreign_files_in_the_inbox_are_set_aside(index, client, context, content, reason):
    (index.path / INBOX / f"{1:016d}").write_bytes(content)
    client.submit([Document("a", "sound")])
    assert drain(context).n_dead == 1
    assert texts(index) == {"a": "sound"}
    assert reason in dead_letters(index.path)[0].reasons[""]


def test_other_names_in_the_inbox_are_left_alone(index, client, context):
    for name in ("README", "12", "x" * 16, f"{0:016d}", "9" * 16, f"{1:016d}.old"):
        (index.path / INBOX / name).write_bytes(b"x")
    client.submit([Document("a", "sound")])
    assert drain(context).n_changes == 1


def test_a_transient_failure_is_survived(index, client):
    client.submit([Document("a", "poison")])
    client.submit([Document("b", "sound")])
    with IngestContext(index.path, encoder=Failing(times=2)) as context:
        assert drain(context).n_dead == 0
    assert texts(index) == {"a": "poison", "b": "sound"}


def test_a_failing_disk_blames_nobody(index, client, context, monkeypatch):
    client.submit([Document("a", "text")])

    def refuse(*_, **__):
        raise StorageError(28, "no space left on device")

    for _ in range(MAX_TRIES + 2):
        with monkeypatch.context() as patch:
            patch.setattr(type(context.writer), "commit_queued", refuse)
            with pytest.raises(StorageError):
                drain(context)
    assert inbox(index) == [f"{1:016d}"]
    assert drain(context).n_changes == 1
    assert texts(index) == {"a": "text"}


def test_a_time_limit_counts_as_an_attempt(index, client):
    class TimeLimit(Exception):
        pass

    client.submit([Document("a", "poison")])
    with IngestContext(index.path, encoder=Failing(TimeLimit())) as context:
        for attempt in range(1, MAX_TRIES + 1):
            with pytest.raises(TimeLimit):
                drain(context, interrupts=(TimeLimit,))
            assert inbox(index)[-1] == f"{1:016d}.try{attempt}"
        assert drain(context, interrupts=(TimeLimit,)).n_dead == 1
    assert client.status(f"{1:016d}").state == "failed"


def test_others_leave_alone_what_a_living_worker_has_in_hand(index, client, context):
    client.submit([Document("a", "text")])
    with (
        IngestContext(index.path, encoder=WordEncoder()) as other,
        Selection(other, LIMITS).take() as taken,
    ):
        assert [change.sequence for change in taken] == [1]
        assert client.status(f"{1:016d}").state == "encoding"
        assert drain(context).n_changes == 0
    # It ended without an error and without a commit: the attempt stays, in nobody's hands.
    assert drain(context).n_changes == 1


def test_a_dead_workers_changes_are_done_one_by_one(index, client, context):
    for n in range(3):
        client.submit([Document(f"d{n}", "text")])
    assert Dead(index).take_and_die() == [1, 2, 3]
    client.submit([Document("new", "text")])
    generation = client.status(f"{1:016d}").generation
    assert drain(context).n_changes == 4
    # The new one, and each of the three by itself.
    assert client.status(f"{1:016d}").generation == generation + 4
    assert len(texts(index)) == 4


def test_what_kills_three_workers_is_set_aside(index, client, context):
    bad = client.submit([Document("a", "killing")])
    for attempt in range(1, MAX_TRIES + 1):
        assert Dead(index).take_and_die() == [1]
        assert inbox(index)[-1] == f"{1:016d}.try{attempt}"
    client.submit([Document("b", "sound")])
    assert drain(context).n_dead == 1
    assert texts(index) == {"b": "sound"}
    assert "the worker died" in client.status(bad).reasons[""]


def test_a_late_worker_changes_nothing(index, client, context):
    """One that was taken for dead wakes up and commits what others have committed."""
    client.submit([Document("a", "text")])
    late = IngestContext(index.path, encoder=WordEncoder())
    with Selection(late, LIMITS).take() as taken:
        (late.directory.path / lease_name(late.lease.owner)).unlink()
        drain(context)
        client.submit([Document("a", "younger")])
        client.submit([Document("b", "x")])
        client.submit(delete=["b"])
        drain(context)
        before = texts(index)
        Drain(late, LIMITS, Observer())._process(taken)
    assert texts(index) == before == {"a": "younger"}


names = st.sampled_from(["a", "b", "c"])
events = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.lists(names, unique=True, max_size=2), st.booleans()),
        st.tuples(st.just("delete"), names, st.none()),
        st.tuples(st.just("drain"), st.integers(0, 1), st.integers(1, 4)),
        st.tuples(st.just("die"), st.integers(1, 3), st.none()),
        st.tuples(st.just("retry"), st.none(), st.none()),
        st.tuples(st.just("drop"), st.none(), st.none()),
        st.tuples(st.just("embedded"), names, st.none()),
        st.tuples(st.just("maintain"), st.none(), st.none()),
    ),
    min_size=3,
    max_size=14,
)


class Played:
    """What happens to an index and, beside it, to a dictionary of what ought to be there."""

    def __init__(self, folder):
        self.index = weft.Index.create(folder, encoder=WordEncoder())
        self.client = Client(folder)
        self.workers = [IngestContext(folder, encoder=Failing()) for _ in range(2)]
        self.sound = IngestContext(folder, encoder=WordEncoder())
        self.changes = {}
        self.version = 0

    def submit(self, ids, poisoned):
        if not ids:
            return
        self.version += 1
        word = "poison" if poisoned else "sound"
        documents = [Document(id, f"{word} {self.version}") for id in ids]
        sequence = int(self.client.submit(documents))
        self.changes[sequence] = {document.id: document.text for document in documents}

    def delete(self, id, _):
        self.changes[int(self.client.submit(delete=[id]))] = {id: None}

    def embedded(self, id, _):
        self.version += 1
        self.index.upsert([f"embedded {self.version}"], ids=[id])
        with self.index.snapshot() as view:
            sequence = view.manifest.next_sequence - 1
        self.changes[sequence] = {id: f"embedded {self.version}"}

    def drain(self, worker, operations):
        drain(self.workers[worker], BatchLimits(operations=operations))

    def die(self, operations, _):
        Dead(self.index).take_and_die(BatchLimits(operations=operations))

    def retry(self, *_):
        retry(self.index.path, [letter.sequence for letter in dead_letters(self.index.path)])

    def drop(self, *_):
        letters = dead_letters(self.index.path)
        drop(self.index.path, [letter.sequence for letter in letters])
        for letter in letters:
            for id in letter.reasons or ():
                if id:
                    del self.changes[letter.sequence][id]
                else:
                    self.changes[letter.sequence] = {}

    def maintain(self, *_):
        self.index.maintain()

    def finish(self):
        """Retry all that was set aside, with an encoder that knows no poison."""
        while drain(self.sound).n_changes or dead_letters(self.index.path):
            self.retry()

    def expected(self):
        found = {}
        for sequence in sorted(self.changes):
            found |= self.changes[sequence]
        return {id: text for id, text in found.items() if text is not None}

    def close(self):
        for opened in (*self.workers, self.sound, self.client, self.index):
            opened.close()


@settings(max_examples=60, deadline=None)
@given(events)
def test_whatever_happens_the_index_is_what_was_submitted(events):
    folder = Path(tempfile.mkdtemp())
    played = Played(folder / "index")
    try:
        for name, *arguments in events:
            getattr(played, name)(*arguments)
        played.finish()
        assert texts(played.index) == played.expected()
        with played.index.snapshot() as view:
            applied = Applied.of(view.manifest)
        assert all(sequence in applied for sequence in played.changes)
    finally:
        played.close()
        shutil.rmtree(folder)
