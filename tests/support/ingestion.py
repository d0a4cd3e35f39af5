"""Documents that stream into an index, and beside it a dictionary of what ought to be there."""

import threading
import time
from collections import Counter
from random import Random

from weft import Document, Index
from weft.engine.errors import IndexNotFoundError
from weft.engine.storage.check import check
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.sequences import Applied
from weft.workers import Client, dead_letters, retry
from weft.workers.inbox import Inbox
from weft.workers.watch import ManifestWatch

N_SHARED = 40
"""Ids that all producers change, so that the order counts."""

LOOK_SECONDS = 0.1


class Ledger:
    """What was acknowledged: by sequence, what was to be under each id; None for nothing."""

    def __init__(self):
        self.changes = {}

    def note(self, id, documents, deletions):
        texts = {document.id: document.text for document in documents}
        assert int(id) not in self.changes, "a submission's id was given twice"
        self.changes[int(id)] = texts | dict.fromkeys(deletions)

    def expected(self):
        found = {}
        for sequence in sorted(self.changes):
            found |= self.changes[sequence]
        return {id: text for id, text in found.items() if text is not None}


class Producers:
    """Threads that submit upserts and deletes, as many passages as they are allowed to.

    Args:
        index: its folder.
        broker: URL; None for none.
        n_producers: threads, each with a client of its own.
    """

    def __init__(self, index, broker, n_producers=3, **options):
        self.ledger = Ledger()
        self.n_passages = 0
        self.errors = []
        self._n_allowed = 0
        self._lock = threading.Lock()
        self._allowed = threading.Semaphore(0)
        self._stop = False
        self._clients = [Client(index, broker, **options) for _ in range(n_producers)]
        self._threads = [
            threading.Thread(target=self._produce, args=(number, client), daemon=True)
            for number, client in enumerate(self._clients)
        ]
        for thread in self._threads:
            thread.start()

    def allow(self, n_passages):
        self._n_allowed += n_passages
        self._allowed.release(n_passages)

    def _produce(self, number, client):
        random, step = Random(number), 0
        try:
            while not self._stop:
                if self._allowed.acquire(timeout=0.1):
                    step += 1
                    self._submit(client, random, f"{number}-{step}")
        except Exception as error:
            self.errors.append(error)
            raise

    def _submit(self, client, random, step):
        """One new passage or more, perhaps over old ones, perhaps with deletions."""
        ids = {f"d{step}"} if random.random() < 0.7 else {shared(random)}
        while random.random() < 0.3 and self._allowed.acquire(blocking=False):
            other = shared(random)
            ids.add(f"d{step}-{len(ids)}" if other in ids or random.random() < 0.5 else other)
        texts = [f"passage {step} of {id} {'word ' * random.randint(0, 5)}" for id in sorted(ids)]
        documents = [Document(id, text) for id, text in zip(sorted(ids), texts, strict=True)]
        deletions = [] if random.random() < 0.8 else list({shared(random)} - ids)
        self.ledger.note(client.submit(documents, delete=deletions), documents, deletions)
        with self._lock:
            self.n_passages += len(documents)

    def pending(self):
        """Whether something that was allowed is not acknowledged yet."""
        assert not self.errors, self.errors
        return bool(self._allowed._value) or self.n_passages < self._n_allowed

    def finish(self):
        """Wait until all that was allowed is submitted."""
        while self.pending():
            time.sleep(0.01)
        self.close()
        assert not self.errors, self.errors

    def close(self):
        self._stop = True
        for thread in self._threads:
            thread.join(60)
        for client in self._clients:
            client.close()


def shared(random):
    return f"shared-{random.randrange(N_SHARED)}"


class QueueWatch(threading.Thread):
    """Looks at the inbox again and again: how long an attempt stays without a next one.

    Args:
        index: its folder.
    """

    def __init__(self, index):
        super().__init__(daemon=True)
        self._directory = LocalDirectory(index)
        self._manifests = ManifestWatch(self._directory)
        self._inbox = Inbox(self._directory)
        self._seen = {}
        self._ended = threading.Event()
        self.slowest_seconds = 0.0
        self.tries = Counter()
        self.start()

    def run(self):
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look(time.monotonic())
            except IndexNotFoundError:
                # The test has failed, and has removed it.
                return

    def look(self, now):
        entries = self._inbox.entries(Applied.of(self._manifests.newest()))
        tried = {entry.sequence: entry.tries for entry in entries if entry.tries and not entry.dead}
        for sequence, (tries, since) in list(self._seen.items()):
            if tried.get(sequence) != tries:
                self.slowest_seconds = max(self.slowest_seconds, now - since)
                del self._seen[sequence]
        for sequence, tries in tried.items():
            if sequence not in self._seen:
                self._seen[sequence] = tries, now
                self.tries[tries] += 1

    def end(self):
        self._ended.set()
        self.join()

    def waiting(self):
        """Sequences that wait, but for dead letters."""
        entries = self._inbox.entries(Applied.of(self._manifests.newest()))
        return [entry.sequence for entry in entries if not entry.dead]


def await_drained(watch, seconds, tell=str):
    """Wait until nothing waits; how long it took."""
    started = time.monotonic()
    while watch.waiting():
        assert time.monotonic() - started < seconds, (watch.waiting()[:20], tell())
        time.sleep(0.02)
    return time.monotonic() - started


def retry_all(index, watch, broker, seconds, tell=str):
    """Retry dead letters until there are none; how many there were."""
    n_letters = 0
    while letters := dead_letters(index):
        n_letters += len(letters)
        retry(index, [letter.sequence for letter in letters], broker)
        await_drained(watch, seconds, tell)
    return n_letters


def contents(index):
    """Texts by id; each id once."""
    with Index.open(index) as opened, opened.snapshot() as view:
        ids = list(view.ids())
        assert len(ids) == len(set(ids)) == view.count()
        found = {}
        for start in range(0, len(ids), 1000):
            part = ids[start : start + 1000]
            found |= {document.id: document.text for document in view.get(part)}
        return found


def assert_equals(index, ledger):
    """The index is what was acknowledged, and sound."""
    assert contents(index) == ledger.expected()
    report = check(LocalDirectory(index))
    assert report.ok, report
