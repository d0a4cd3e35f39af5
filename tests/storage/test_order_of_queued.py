"""Queued changes among embedded ones: sequences decide, in whatever order they arrive."""

import numpy as np
import pytest
from hooked import applied, deliver, now, stage, submit, tombstone_ids, upsert, waiting
from storage_tools import document, make_batch

from weft.engine.errors import CommitConflictError, DuplicateDocumentError, InvalidParameterError
from weft.engine.storage import sequences
from weft.engine.storage.check import check
from weft.engine.storage.compaction import compact
from weft.engine.storage.repair import repair


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
        assert (result.generation, result.superseded) == (generation, ())
    assert now(directory) == {"b": document("b", 2)}
    assert len(directory.list("segments")) == 2


@pytest.mark.parametrize("given_up", ["row", "deletion"])
def test_what_was_given_up_hides_nothing_that_is_older(quick, directory, given_up):
    """A change that was applied empty does not count, also where it is delivered with others."""
    quick.commit_queued([], completed=[7])
    older = [stage(quick, ("a", 5, 5), ("b", 5, 5))]
    if given_up == "row":
        result = quick.commit_queued([*older, stage(quick, ("a", 7, 7))], completed=[5, 7])
    else:
        result = quick.commit_queued(older, delete={"a": 7}, completed=[5, 7])
    assert (result.added, result.superseded) == (("a", "b"), ())
    assert now(directory) == {"a": document("a", 5), "b": document("b", 5)}
    assert applied(directory) == (0, ((5, 5), (7, 7)))


def test_an_older_deletion_beside_a_row_that_was_given_up(quick, directory):
    upsert(quick, "a", 1)
    submit(directory, 5)
    quick.commit_queued([], completed=[7])
    result = quick.commit_queued([stage(quick, ("a", 7, 7))], delete={"a": 5}, completed=[5, 7])
    assert (result.deleted, result.superseded) == (("a",), ())
    assert now(directory) == {} and tombstone_ids(directory) == {"a": 5}
    assert len(directory.list("segments")) == 1


def test_a_change_in_several_commits(quick, directory):
    """It is complete with the last; what came before is not applied twice."""
    submit(directory, 1)
    deliver(quick, ("a", 1, 1), ("b", 1, 1), completed=[])
    assert applied(directory) == (0, ()) and waiting(directory) == [1]
    quick.commit([], delete=["b"])
    result = deliver(quick, ("a", 1, 1), ("b", 1, 1), ("c", 1, 1))
    assert (result.added, set(result.superseded)) == (("c",), {"a", "b"})
    assert set(now(directory)) == {"a", "c"} and applied(directory) == (2, ())


def test_a_deletion_that_is_part_of_a_change(quick, directory):
    """Its sequence lies below the next one, though nothing is applied under it yet."""
    upsert(quick, "a", 1)
    upsert(quick, "b", 1)
    submit(directory, 9)
    assert quick.commit_queued([], delete={"a": 9}).deleted == ("a",)
    with quick.snapshot() as snapshot:
        assert snapshot.manifest.next_sequence == 10
    assert check(directory).ok and not repair(directory).repaired
    assert set(now(directory)) == {"b"} and tombstone_ids(directory) == {"a": 9}


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
    assert result.added == result.replaced == result.superseded == ()
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
