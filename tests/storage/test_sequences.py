"""Sets of applied sequences against Python's, and claims by their files."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
from hooked import waiting
from hypothesis import given
from hypothesis import strategies as st
from storage_tools import add, documents, new_index

from weft.engine.errors import CommitConflictError, StorageError
from weft.engine.storage.claims import Claims, claim, claim_age_seconds, take_sequence
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import new_identifier, submission_name, submission_sequence
from weft.engine.storage.manifest import MAX_APPLIED_RANGES, IndexSettings, Manifest
from weft.engine.storage.manifest_decoding import decode_manifest
from weft.engine.storage.reader import Reader
from weft.engine.storage.sequences import MAX_SEQUENCE, Applied
from weft.engine.storage.sweep import sweep
from weft.engine.storage.writer import Writer

numbers = st.lists(st.integers(1, 40), max_size=12)


@given(st.lists(numbers, max_size=6), st.integers(1, 45), st.integers(0, 50))
def test_a_set_of_sequences(parts, end, most):
    applied, model = Applied(), set()
    for part in parts:
        applied = applied.extended(part)
        model |= set(part)
        assert {n for n in range(1, 60) if n in applied} == model
        assert applied.highest == max(model, default=0)
        below = applied.floor
        for first, last in applied.above:
            assert below + 1 < first <= last
            below = last
    missing = [n for n in range(1, end) if n not in model]
    assert applied.missing(end, most) == missing[:most]
    assert Applied(applied.floor, applied.above) == Applied().extended(model)


def manifest(applied):
    identifier = new_identifier()
    return Manifest(
        generation=1,
        commit_uuid=identifier,
        index_uuid=identifier,
        dim=8,
        encoder=None,
        settings=IndexSettings(),
        next_sequence=applied.highest + 1,
        applied_floor=applied.floor,
        applied_above=applied.above,
    )


def test_a_million_submissions_out_of_order():
    """Each is applied at most 8,000 places late, two thousand to a commit."""
    late = np.random.default_rng(5).uniform(0, 8000, size=1_000_000)
    order = (np.argsort(np.arange(1_000_000) + late) + 1).tolist()
    applied, longest = Applied(), 0
    for start in range(0, len(order), 2000):
        applied = applied.extended(order[start : start + 2000])
        longest = max(longest, len(manifest(applied).encode()))
    assert applied == Applied(1_000_000)
    assert 10_000 < longest < 100_000


def test_the_longest_manifest_of_ranges():
    first = MAX_SEQUENCE - 2 * MAX_APPLIED_RANGES
    full = Applied(5).extended(range(first, first + 2 * MAX_APPLIED_RANGES, 2))
    assert len(full.above) == MAX_APPLIED_RANGES
    encoded = manifest(full).encode()
    assert len(encoded) < 2**20
    assert Applied.of(decode_manifest(encoded, "manifest")) == full
    with pytest.raises(CommitConflictError, match="drain"):
        full.extended([first - 2])
    assert full.extended([first - 1]).above[0] == (first - 1, first)
    assert json.loads(encoded)["next_sequence"] <= MAX_SEQUENCE


@pytest.fixture
def directory(tmp_path):
    return new_index(tmp_path / "index")


def test_names():
    assert submission_name(42) == "inbox/0000000000000042"
    assert submission_sequence("0000000000000042") == (42, True)
    assert submission_sequence("0000000000000042.try1") == (42, False)
    for name in ("42", "000000000000004２", "0000000000000042try", "x0000000000000042"):
        assert submission_sequence(name) is None


def test_what_waits(directory):
    for name in ("0000000000000007", "0000000000000003", "0000000000000003.try1", "notes", ".nfs"):
        (directory.path / "inbox" / name).touch()
    for number in (0, MAX_SEQUENCE + 1, 10**16 - 1):
        (directory.path / submission_name(number)).touch()
    assert waiting(directory) == [3, 7]


def test_two_claimers_of_one_number(directory):
    claim(directory, submission_name(4))
    with pytest.raises(FileExistsError):
        claim(directory, submission_name(4))
    assert take_sequence(4, lambda name: claim(directory, name)) == 5
    assert directory.list("inbox") == [f"{4:016d}", f"{5:016d}"]
    with pytest.raises(StorageError, match="no more sequences"):
        take_sequence(MAX_SEQUENCE + 1, lambda name: claim(directory, name))


@pytest.mark.parametrize("moment", ["made", "held"])
def test_an_interrupted_claim_stays_and_is_not_renewed(directory, monkeypatch, moment):
    touched = []

    class Interrupted(LocalDirectory):
        @contextmanager
        def create(self, name, *, durable=True):
            with super().create(name, durable=durable) as file:
                if moment == "made" and name.startswith("inbox/"):
                    raise KeyboardInterrupt
                yield file

        def touch(self, name):
            touched.append(name)
            super().touch(name)

    def hold(name):
        Reader.hold(reader, name)
        if name.startswith("inbox/"):
            raise KeyboardInterrupt

    with Writer(Interrupted(directory.path, durable=False)) as writer:
        reader = writer._reader
        if moment == "held":
            monkeypatch.setattr(reader, "hold", hold)
        with pytest.raises(KeyboardInterrupt):
            add(writer, documents(1))
        touched.clear()
        reader.renew()
        assert touched and not any(name.startswith("inbox/") for name in touched)
        assert waiting(directory) == [1]
        assert sweep(writer, lease_seconds=0).committed and waiting(directory) == []


def test_a_claim_is_held_while_it_is_there_and_empty(directory):
    with Reader(directory) as reader:
        claims = Claims(reader)
        sequence = claims.take(1)
        assert claims.is_held(sequence)
        now = directory.clock_seconds()
        assert 0 <= claim_age_seconds(directory, sequence, now) < 60
        path = directory.path / submission_name(sequence)
        path.write_bytes(b"a queued change")
        assert not claims.is_held(sequence)
        assert claim_age_seconds(directory, sequence, now) is None
        path.unlink()
        assert not claims.is_held(sequence)
        assert claim_age_seconds(directory, sequence, now) is None


def test_claims_are_renewed_until_they_are_abandoned_or_settled(directory):
    touched = []

    class Watched(LocalDirectory):
        def touch(self, name):
            touched.append(name)
            super().touch(name)

    with Reader(Watched(directory.path)) as reader:
        claims = Claims(reader)
        first, second = claims.take(1), claims.take(1)
        reader.renew()
        assert {submission_name(first), submission_name(second)} <= set(touched)
        claims.abandon(first)
        assert claims.abandoned() == {first} and waiting(directory) == [first, second]
        claims.settle([second])
        assert waiting(directory) == [first]
        touched.clear()
        reader.renew()
        assert not any(name.startswith("inbox/") for name in touched)
        claims.settle([first])
        assert claims.abandoned() == set() and waiting(directory) == []
