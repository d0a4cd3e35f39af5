"""Attempts: who is blamed for what, whatever kills or interrupts the workers."""

import pytest
from word_encoder import WordEncoder

from weft import Document
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

