"""Draining an inbox in this process, with workers that fail or die."""

from word_encoder import WordEncoder

from weft.engine.storage.layout import INBOX
from weft.workers import BatchLimits
from weft.workers.context import IngestContext
from weft.workers.drain import Drain
from weft.workers.leases import lease_name
from weft.workers.metrics import Observer
from weft.workers.selection import Selection

LIMITS = BatchLimits()
BURIED = []


def drain(context, limits=LIMITS, interrupts=()):
    return Drain(context, limits, Observer(), interrupts).run(60)


def texts(index):
    with index.snapshot() as view:
        return {id: view.get(id).text for id in view.ids()}


def inbox(index):
    return sorted(path.name for path in (index.path / INBOX).iterdir() if path.name[0].isdigit())


class Failing(WordEncoder):
    """Fails on texts with the word "poison", some times."""

    def __init__(self, error=None, times=10**9):
        super().__init__()
        self.error = error or ValueError("cannot be encoded")
        self.times, self.attempts = times, 0

    def encode_passages(self, texts, *, languages=None, progress=False):
        if any("poison" in text for text in texts):
            self.attempts += 1
            if self.attempts <= self.times:
                raise self.error
        return super().encode_passages(texts)


class Dead:
    """Another worker, which took what waits and then died without a word."""

    def __init__(self, index):
        self.context = IngestContext(index.path, encoder=WordEncoder())

    def take_and_die(self, limits=LIMITS):
        selection = Selection(self.context, limits)
        taking = selection.take()
        # Or its end would undo what it began.
        BURIED.append(taking)
        taken = taking.__enter__()
        # Its lease goes, as it would by age.
        (self.context.directory.path / lease_name(self.context.lease.owner)).unlink()
        return [change.sequence for change in taken]
