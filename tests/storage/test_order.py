"""Races over sequences, played out by hooks in the directory: the last submission wins."""

import pytest
from hooked import applied, deliver, now, submit, upsert, waiting
from storage_tools import Killed, add, document

from weft.engine.errors import DuplicateDocumentError, WriterClosedError
from weft.engine.storage.collection import collect
from weft.engine.storage.layout import submission_name
from weft.engine.storage.reader import Reader
from weft.engine.storage.sweep import sweep


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


class Late:
    """A lock before which something happens once."""

    def __init__(self, lock, action):
        self.lock, self.action = lock, action

    def __enter__(self):
        action, self.action = self.action, None
        if action is not None:
            action()
        return self.lock.__enter__()

    def __exit__(self, *error):
        return self.lock.__exit__(*error)


def test_a_gap_that_another_sweep_closes_first(slow, quick, directory):
    """Nobody would remove a claim on what was applied before, until the next collection."""
    lost = quick.claims.take(1)
    upsert(quick, "a", 1)
    directory.remove(submission_name(lost))
    slow.lock = Late(slow.lock, lambda: sweep(quick))
    report = sweep(slow)
    assert not report.committed and report.closed == ()
    assert applied(directory) == (2, ()) and waiting(directory) == []


def test_a_writer_that_is_closed_before_it_settles(slow, quick, directory):
    lost = quick.claims.take(1)
    upsert(quick, "a", 1)
    directory.remove(submission_name(lost))
    slow.lock = Late(slow.lock, slow.close)
    with pytest.raises(WriterClosedError):
        sweep(slow)
    assert applied(directory) == (0, ((2, 2),)) and waiting(directory) == []
