"""Races over sequences, played out by hooks in the directory: the last submission wins."""

from contextlib import contextmanager

import numpy as np
import pytest
from storage_tools import Killed, add, contents, document, make_batch, new_index

from weft.engine.errors import CommitConflictError, DuplicateDocumentError, InvalidParameterError
from weft.engine.storage import sequences
from weft.engine.storage.claims import waiting
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import submission_name
from weft.engine.storage.reader import Reader
from weft.engine.storage.sweep import sweep
from weft.engine.storage.writer import Writer


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


@pytest.fixture
def directory(tmp_path):
    return new_index(tmp_path / "index")


@pytest.fixture
def hooked(directory):
    return Hooked(directory.path)


@pytest.fixture
def slow(hooked):
    """The writer whose calls are hooked."""
    with Writer(hooked) as writer:
        yield writer


@pytest.fixture
def quick(directory):
    with Writer(directory) as writer:
        yield writer


def now(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return contents(snapshot)


def applied(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        manifest = snapshot.manifest
        assert manifest.next_sequence > sequences.Applied.of(manifest).highest
        return manifest.applied_floor, manifest.applied_above


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


def test_a_commit_leaves_no_claim(quick, directory):
    add(quick, [document("a")])
    quick.commit([], delete=["a"])
    assert applied(directory) == (2, ()) and waiting(directory) == []


def test_two_claimers_of_one_number(slow, quick, hooked, directory):
    """The second takes the next one; the floor waits for the first, whose change comes later."""
    first = quick.claims.take(1)
    upsert(slow, "a", 1)
    assert first == 1 and applied(directory) == (0, ((2, 2),))
    quick.claims.abandon(first)
    upsert(quick, "b", 1)
    assert applied(directory) == (3, ()) and waiting(directory) == []


def test_a_claimer_whose_number_is_taken_at_the_last_moment(slow, quick, hooked, directory):
    claimed = []
    hooked.before("create", "inbox/", lambda: claimed.append(quick.claims.take(1)))
    upsert(slow, "a", 1)
    assert claimed == [1] and applied(directory) == (0, ((2, 2),))


def test_a_claimer_that_slept_past_the_floor(slow, quick, hooked, directory):
    """Its number is free again, since it was applied: it takes another when it finds out."""
    hooked.before("create", "inbox/", lambda: upsert(quick, "shared", 1))
    result = upsert(slow, "shared", 2)
    assert (result.generation, result.replaced) == (3, ("shared",))
    assert now(directory) == {"shared": document("shared", 2)}
    assert applied(directory) == (2, ()) and waiting(directory) == []


def test_one_claim_survives_a_lost_race(slow, quick, hooked, directory):
    hooked.before("publish", "manifest", lambda: upsert(quick, "b", 1))
    upsert(slow, "a", 1)
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        found = {s.passages.document(0).id: s.files.ref.sequence for s in snapshot.segments}
    assert found == {"a": 1, "b": 2} and applied(directory) == (2, ())


@pytest.mark.parametrize("change", ["upsert", "delete"])
def test_a_change_that_was_overtaken_on_its_own_id(slow, quick, hooked, directory, change):
    """It claims anew, so that it does what it reports."""
    upsert(quick, "a", 0)
    hooked.before("publish", "manifest", lambda: upsert(quick, "a", 1))
    if change == "upsert":
        assert upsert(slow, "a", 2).replaced == ("a",)
        assert now(directory) == {"a": document("a", 2)}
    else:
        assert slow.commit([], delete=["a"]).deleted == ("a",)
        assert now(directory) == {}
    assert applied(directory) == (4, ()) and waiting(directory) == []


def test_a_claim_that_was_swept_while_its_owner_slept(slow, quick, hooked, directory):
    reports = []
    hooked.before("publish", "manifest", lambda: reports.append(sweep(quick, lease_seconds=0)))
    upsert(slow, "a", 1)
    assert reports[0].committed and reports[0].expired == (1,)
    assert now(directory) == {"a": document("a", 1)}
    assert applied(directory) == (2, ()) and waiting(directory) == []


def test_an_owner_that_wakes_before_its_claim_is_swept(slow, quick, hooked, directory):
    """The commit that comes first counts; the sweep finds that there is nothing left."""
    sequence = quick.claims.take(1)
    quick.claims.abandon(sequence)
    hooked.before("publish", "manifest", lambda: upsert(quick, "a", 1))
    report = sweep(slow, lease_seconds=0)
    assert not report.committed and report.generation == 1
    assert applied(directory) == (2, ()) and now(directory) == {"a": document("a", 1)}
    assert waiting(directory) == []


def test_a_claim_that_is_renewed_is_not_swept(quick, directory):
    quick.claims.take(1)
    submit(directory, 2)
    assert not sweep(quick).committed and waiting(directory) == [1, 2]
    assert sweep(quick, lease_seconds=0).expired == (1,)
    assert waiting(directory) == [2] and applied(directory) == (1, ())


@pytest.mark.parametrize("how", ["lost", "taken"])
def test_a_claim_that_is_not_ours_any_more(slow, quick, hooked, directory, how):
    """The power took it, and perhaps a queued change has its name now."""

    def happen():
        hooked.remove(submission_name(1))
        if how == "taken":
            submit(directory, 1)
        upsert(quick, "b", 1)

    hooked.before("publish", "manifest", happen)
    upsert(slow, "a", 1)
    if how == "lost":
        assert applied(directory) == (2, ())
    else:
        assert applied(directory) == (0, ((2, 3),)) and waiting(directory) == [1]
        deliver(quick, ("c", 1, 1))
        assert set(now(directory)) == {"a", "b", "c"} and applied(directory) == (3, ())


def fail(slow, quick, hooked):
    """Claim, lose, and find that the id is there now."""
    hooked.before("publish", "manifest", lambda: upsert(quick, "a", 1))
    with pytest.raises(DuplicateDocumentError):
        add(slow, [document("a", 2)])


def test_a_failed_change_leaves_its_number_to_the_next(slow, quick, hooked, directory):
    fail(slow, quick, hooked)
    assert applied(directory) == (0, ((2, 2),)) and waiting(directory) == [1]
    upsert(slow, "b", 1)
    assert applied(directory) == (3, ()) and waiting(directory) == []
    assert now(directory) == {"a": document("a", 1), "b": document("b", 1)}


def test_a_failed_change_leaves_its_number_to_the_sweep(slow, quick, hooked, directory):
    fail(slow, quick, hooked)
    slow.close()
    assert not sweep(quick).committed
    report = sweep(quick, lease_seconds=0)
    assert (report.expired, report.closed) == ((1,), ())
    assert applied(directory) == (2, ()) and waiting(directory) == []
    assert not sweep(quick, lease_seconds=0).committed


def test_the_writer_sweeps_its_own_number_at_once(slow, quick, hooked, directory):
    fail(slow, quick, hooked)
    assert sweep(slow).committed
    assert applied(directory) == (2, ()) and waiting(directory) == []


def test_an_interrupted_change_leaves_its_number(slow, hooked, directory):
    def interrupt():
        raise KeyboardInterrupt

    hooked.before("publish", "manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        upsert(slow, "a", 1)
    # Not renewed any more, so that the sweep may have it.
    hooked.before("touch", "inbox/", lambda: pytest.fail("an abandoned claim was renewed"))
    slow._reader.renew()
    assert waiting(directory) == [1] and slow.claims.abandoned() == {1}
    upsert(slow, "a", 2)
    assert applied(directory) == (2, ()) and waiting(directory) == []


def test_dying_between_the_commit_and_the_removal_of_the_claim(slow, quick, hooked, directory):
    def die():
        raise Killed

    hooked.before("remove", "inbox/", die)
    with pytest.raises(Killed):
        upsert(slow, "a", 1)
    assert waiting(directory) == [1] and applied(directory) == (1, ())
    assert not sweep(quick, lease_seconds=0).committed
    upsert(quick, "a", 2)
    assert applied(directory) == (2, ()) and waiting(directory) == [1]
    collect(directory)
    assert waiting(directory) == []


def test_a_gap_is_closed_by_claiming_it(slow, quick, hooked, directory):
    lost = quick.claims.take(1)
    upsert(quick, "a", 1)
    directory.remove(submission_name(lost))
    assert applied(directory) == (0, ((2, 2),))
    report = sweep(slow)
    assert report.committed and report.closed == (1,)
    assert applied(directory) == (2, ()) and waiting(directory) == []


def test_a_gap_that_somebody_takes_first(slow, quick, hooked, directory):
    lost = quick.claims.take(1)
    upsert(quick, "a", 1)
    directory.remove(submission_name(lost))
    hooked.before("create", "inbox/", lambda: submit(directory, 1))
    report = sweep(slow)
    assert not report.committed and report.closed == ()
    assert deliver(quick, ("b", 1, 1)).added == ("b",)
    assert applied(directory) == (2, ())


def test_a_queued_change_below_embedded_ones(quick, directory):
    submit(directory, 1)
    for n in range(5):
        upsert(quick, f"e{n % 2}", n)
    assert applied(directory) == (0, ((2, 6),))
    result = deliver(quick, ("e0", 99, 1), ("q", 1, 1))
    assert (result.added, result.superseded) == (("q",), ("e0",))
    assert now(directory) == {id: document(id, v) for id, v in (("e0", 4), ("e1", 3), ("q", 1))}
    assert applied(directory) == (6, ()) and waiting(directory) == []


def test_a_deletion_before_the_older_upsert_arrives(quick, directory):
    submit(directory, 1)
    result = quick.commit([], delete=["a"])
    assert (result.generation, result.missing) == (2, ("a",))
    assert tombstone_ids(directory) == {"a": 2}
    upsert(quick, "x", 1)
    upsert(quick, "x", 2)
    compact(quick)
    assert tombstone_ids(directory) == {"a": 2}
    before = directory.list("segments")
    # The whole segment is dead: there is no use in keeping it.
    assert deliver(quick, ("a", 1, 1)).superseded == ("a",)
    assert directory.list("segments") == before and set(now(directory)) == {"x"}
    assert applied(directory) == (4, ())
    upsert(quick, "x", 3)
    compact(quick)
    assert tombstone_ids(directory) == {}


def test_a_row_that_is_born_dead(quick, directory):
    submit(directory, 1)
    upsert(quick, "b", 7)
    quick.commit([], delete=["a"])
    deliver(quick, ("a", 1, 1), ("b", 1, 1), ("c", 1, 1))
    assert now(directory) == {"b": document("b", 7), "c": document("c", 1)}
    compact(quick)
    assert now(directory) == {"b": document("b", 7), "c": document("c", 1)}


def test_a_second_delivery(quick, directory):
    for n in (1, 2):
        submit(directory, n)
    assert deliver(quick, ("a", 1, 1), ("b", 1, 1)).added == ("a", "b")
    assert deliver(quick, delete={"a": 2}).deleted == ("a",)
    generation = upsert(quick, "b", 2).generation
    for _ in range(2):
        result = deliver(quick, ("a", 1, 1), ("b", 1, 1), delete={"b": 1, "c": 2})
        assert (result.generation, set(result.superseded)) == (generation, {"a", "b", "c"})
    assert now(directory) == {"b": document("b", 2)}
    assert len(directory.list("segments")) == 2


def test_a_change_in_several_commits(quick, directory):
    """It is complete with the last; what came before is not applied twice."""
    submit(directory, 1)
    deliver(quick, ("a", 1, 1), ("b", 1, 1), completed=[])
    assert applied(directory) == (0, ()) and waiting(directory) == [1]
    quick.commit([], delete=["b"])
    result = deliver(quick, ("a", 1, 1), ("b", 1, 1), ("c", 1, 1))
    assert (result.added, set(result.superseded)) == (("c",), {"a", "b"})
    assert set(now(directory)) == {"a", "c"} and applied(directory) == (2, ())


def test_the_highest_sequence_within_one_commit(quick, directory):
    staged = [stage(quick, ("a", 1, 3), ("b", 1, 1)), stage(quick, ("a", 2, 2), ("b", 2, 2))]
    more = [stage(quick, ("c", 1, 5)), stage(quick, ("d", 1, 5))]
    result = quick.commit_queued(
        [*staged, *more], delete={"c": 4, "d": 6, "e": 6}, completed=range(1, 7)
    )
    assert (result.added, result.missing) == (("a", "b", "c"), ("d", "e"))
    expected = {"a": document("a", 1), "b": document("b", 2), "c": document("c", 1)}
    assert now(directory) == expected and applied(directory) == (6, ())


def test_an_embedded_change_meets_a_younger_queued_one(slow, quick, hooked, directory):
    """Its claim is below: it claims anew above."""

    def happen():
        submit(directory, 2)
        deliver(quick, ("a", 5, 2))

    hooked.before("publish", "manifest", happen)
    assert slow.commit(slow.stage(make_batch([document("a", 9)])), replace=True).replaced == ("a",)
    assert now(directory) == {"a": document("a", 9)} and applied(directory) == (3, ())


def test_compaction_keeps_sequences(quick, directory):
    for n in (1, 2, 3):
        submit(directory, n)
    deliver(quick, ("a", 1, 3), ("b", 1, 2))
    upsert(quick, "c", 1)
    compact(quick)
    result = deliver(quick, ("a", 2, 2), ("b", 2, 3), ("c", 2, 3), completed=[2, 3])
    # Both are applied already, whatever the ids say.
    assert result.added == result.replaced == ()
    result = deliver(quick, ("c", 3, 1), ("a", 3, 1), ("d", 3, 1))
    assert (result.added, set(result.superseded)) == (("d",), {"a", "c"})


def test_too_many_gaps(quick, directory, monkeypatch):
    monkeypatch.setattr(sequences, "MAX_APPLIED_RANGES", 2)
    deliver(quick, ("a", 1, 2))
    deliver(quick, ("b", 1, 4))
    before = directory.list("segments")
    with pytest.raises(CommitConflictError, match="drain"):
        deliver(quick, ("c", 1, 6))
    submit(directory, 5)
    with pytest.raises(CommitConflictError, match="drain"):
        upsert(quick, "c", 1)
    assert directory.list("segments") == before
    deliver(quick, ("c", 1, 3))
    assert applied(directory) == (0, ((2, 4),))


@pytest.mark.parametrize("number", [0, -1, 2**48, True, "5"])
def test_numbers_that_are_no_sequences(quick, number):
    with pytest.raises(InvalidParameterError, match="equence"):
        quick.commit_queued([], completed=[number])
    with pytest.raises(InvalidParameterError, match="equence"):
        quick.commit_queued([], delete={"a": number})


def test_sequences_and_documents_belong_together(quick, directory):
    batch = make_batch([document("a")])
    for wrong in (np.array([1, 2], np.uint64), np.array([1]), np.array([0], np.uint64)):
        with pytest.raises(InvalidParameterError, match="equence"):
            quick.stage(batch, sequences=wrong)
    with pytest.raises(InvalidParameterError, match="commit_queued"):
        quick.commit(stage(quick, ("a", 1, 1)))
    with pytest.raises(InvalidParameterError, match="without sequences"):
        quick.commit_queued(quick.stage(batch))
    with pytest.raises(DuplicateDocumentError, match="change 3"):
        quick.commit_queued([stage(quick, ("a", 1, 3)), stage(quick, ("a", 2, 3))])
    assert directory.list("segments") == [] and waiting(directory) == []
