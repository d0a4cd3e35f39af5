"""What `weft status` shows, against what was done to the queue."""

import time

from draining import drain

from weft import Document
from weft.engine.storage.layout import INBOX
from weft.workers import Watcher
from weft.workers.selection import MAX_DEAD


def test_a_healthy_queue_has_a_rate(index, client, context):
    watcher = Watcher(index.path)
    assert watcher.look().changes_per_second is None
    for n in range(20):
        client.submit([Document(f"d{n}", "text")])
    drain(context)
    time.sleep(0.3)
    found = watcher.look()
    assert found.changes_per_second > 0
    assert (found.n_waiting, found.n_operations, found.n_dead) == (0, 0, 0)
    assert (found.n_documents, found.n_segments) == (20, 1)


def test_what_was_seen_waiting_has_a_lag(index, client, context):
    watcher = Watcher(index.path)
    client.submit([Document("a", "text"), Document("b", "text")])
    waiting = watcher.look()
    assert (waiting.n_waiting, waiting.n_operations) == (1, 2)
    assert waiting.oldest_seconds < 60
    assert waiting.lag_seconds is None
    drain(context)
    assert 0 <= watcher.look().lag_seconds < 60


def test_claims_of_embedded_changes_do_not_wait(index):
    (index.path / INBOX / f"{1:016d}").touch()
    found = Watcher(index.path).look()
    assert (found.n_waiting, found.n_operations) == (0, 0)


def test_so_many_dead_letters_that_workers_halt(index, client, context):
    client.submit([Document("a", "text")])
    for sequence in range(2, MAX_DEAD + 2):
        (index.path / INBOX / f"{sequence:016d}").write_text("x")
        (index.path / INBOX / f"{sequence:016d}.dead").write_text('{"reasons":{}}')
    found = Watcher(index.path).look()
    assert found.halted
    assert found.n_dead == MAX_DEAD
    assert drain(context).n_changes == 0
