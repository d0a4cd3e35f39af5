"""Attempts: who is blamed for what, whatever kills or interrupts the workers."""

import os
import time
from contextlib import contextmanager

import pytest
from word_encoder import WordEncoder

from weft import Document
from weft.engine.errors import StorageError
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import INBOX
from weft.workers import BatchLimits, dead_letters
from weft.workers.context import IngestContext
from weft.workers.drain import Drain
from weft.workers.leases import lease_name
from weft.workers.metrics import Observer

LIMITS = BatchLimits()


class Killed(BaseException):
    """Stands for the end of the process: nothing is tidied up after it."""


class Deadly(WordEncoder):
    """Ends the process at texts with the word "killing"."""

    def encode_passages(self, texts, *, languages=None, progress=False):
        if any("killing" in text for text in texts):
            raise Killed
        if any("failing" in text for text in texts):
            raise ValueError("cannot be encoded")
        return super().encode_passages(texts)


def live_until_killed(index):
    """A worker that drains; whether it came to its end."""
    with IngestContext(index.path, encoder=Deadly()) as context:
        # Whatever is not blamed is taken back: a killed process does not get to do that.
        context.inbox.take_back = lambda sequence, attempt: None
        try:
            Drain(context, LIMITS, Observer()).run(60)
        except Killed:
            (index.path / lease_name(context.lease.owner)).unlink()
            return False
    return True


def drain_with_fresh_workers(index):
    deaths = 0
    while not live_until_killed(index):
        deaths += 1
    return deaths


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("other", ["sound", "failing"])
def test_only_the_culprit_is_set_aside(index, client, place, other):
    """Wherever it stands among its batch-mates, and whether or not another one fails as well."""
    texts = [f"sound {n}" for n in range(5)]
    texts[1] = other
    texts[place] = "killing"
    for n, text in enumerate(texts):
        client.submit([Document(f"d{n}", text)])
    assert drain_with_fresh_workers(index) == 3
    guilty = [n + 1 for n, text in enumerate(texts) if "sound" not in text]
    assert [letter.sequence for letter in dead_letters(index.path)] == guilty
    assert set(index.ids()) == {f"d{n}" for n in range(5) if n + 1 not in guilty}


def test_two_culprits(index, client):
    for n in range(8):
        client.submit([Document(f"d{n}", "killing" if n in (0, 5) else "sound")])
    assert drain_with_fresh_workers(index) <= 6
    assert [letter.sequence for letter in dead_letters(index.path)] == [1, 6]
    assert len(list(index.ids())) == 6


class FullFile:
    def write_at(self, offset, data):
        raise StorageError(28, "no space left on device")


def test_a_full_disk_is_held_against_nobody(index, client, context, monkeypatch):
    """Empty files can be made on a full disk; what goes into them cannot."""
    create = LocalDirectory.create

    @contextmanager
    def full(self, name, *, durable=True):
        with create(self, name, durable=durable) as file:
            yield FullFile() if ".try" in name else file

    for n in range(3):
        client.submit([Document(f"d{n}", "sound")])
    with monkeypatch.context() as patch:
        patch.setattr(LocalDirectory, "create", full)
        for _ in range(5):
            with pytest.raises(StorageError):
                Drain(context, LIMITS, Observer()).run(60)
    assert [path.name for path in (index.path / INBOX).glob("*.try*")] == []
    report = Drain(context, LIMITS, Observer()).run(60)
    assert (report.n_changes, report.n_dead) == (3, 0)


def test_an_attempt_of_which_nobody_knows_whose_it_is(index, client, context):
    """Its file is there before its content is; soon after it is somebody's, later nobody's."""
    client.submit([Document("a", "sound")])
    attempt = index.path / INBOX / f"{1:016d}.try1"
    attempt.touch()
    assert Drain(context, LIMITS, Observer()).run(60).n_changes == 0
    then = time.time() - 60
    os.utime(attempt, (then, then))
    clock = type(context.directory).clock_seconds
    context.directory.clock_seconds = lambda: clock(context.directory) + 60
    assert Drain(context, LIMITS, Observer()).run(60).n_changes == 1
