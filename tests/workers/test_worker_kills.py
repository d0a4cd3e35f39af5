"""Workers killed at random moments while documents stream in: nothing lost, nothing twice.

At full size with the lease and the sweep that workers have by default.
"""

import shutil
import time
from random import Random

import campaigns
import pytest
from fleet import KINDS, Fleet
from ingestion import Producers, QueueWatch, assert_equals, await_drained, retry_all
from scratch import scratch_folder
from word_encoder import WordEncoder

import weft

CHEAP = ("a cheap encoder", campaigns.size(5, 200), campaigns.size(500, 20_000))
MODEL = ("MiniLM", 10, 500)
"""Encoder, kills and passages."""

REDELIVERY_SECONDS = 90
PAUSE_SECONDS = campaigns.size(6, 15) / 10
"""Longest time between passages that were allowed and a kill."""

OPTIONS = {"limits": {"operations": 16}, "maintenance_seconds": 3}
SHORT = {"lease_seconds": 1.5, "sweep_seconds": 0.5}


@pytest.fixture
def folder():
    made = scratch_folder()
    yield made
    shutil.rmtree(made)


def stream_and_kill(fleet, producers, n_kills, n_passages):
    random = Random(n_kills)
    for n in range(n_kills):
        fleet.await_oldest()
        producers.allow(n_passages // n_kills)
        time.sleep(random.uniform(0, PAUSE_SECONDS))
        fleet.kill(KINDS[n % 3] if n < 3 else random.choice((KINDS[0], *KINDS)))
    producers.finish()


@pytest.mark.parametrize(
    ("name", "n_kills", "n_passages"), [CHEAP, MODEL] if campaigns.FULL else [CHEAP]
)
def test_kills(folder, redis_server, name, n_kills, n_passages):
    path = folder / "index"
    encoder = None if name == "MiniLM" else WordEncoder()
    # Small enough that the codec is trained on the way, and segments are merged.
    weft.Index.create(path, encoder=encoder, flat_below_tokens=20_000).close()
    options = (OPTIONS if campaigns.FULL else OPTIONS | SHORT) | {"model": encoder is None}
    fleet = Fleet(path, redis_server.url, folder, **options)
    producers, watch = Producers(path, redis_server.url, max_waiting=2000), QueueWatch(path)
    try:
        stream_and_kill(fleet, producers, n_kills, n_passages)
        seconds = await_drained(watch, 2 * REDELIVERY_SECONDS, fleet.tell)
        n_letters = retry_all(path, watch, redis_server.url, 2 * REDELIVERY_SECONDS, fleet.tell)
        watch.end()
        fleet.await_orphans()
        assert_equals(path, producers.ledger)
        assert watch.slowest_seconds < REDELIVERY_SECONDS
    finally:
        producers.close()
        fleet.close()
    report(name, fleet, producers, watch, n_letters, seconds)


def report(name, fleet, producers, watch, n_letters, seconds):
    counts = [(kind, fleet.kills[kind]) for kind in KINDS]
    counts += [("passages", producers.n_passages), ("changes", len(producers.ledger.changes))]
    counts += [("second tries", watch.tries[2]), ("third tries", watch.tries[3])]
    counts += [("innocent dead letters, retried", n_letters)]
    counts += [("ms the slowest redelivery", round(1000 * watch.slowest_seconds))]
    counts += [("ms drained after the last kill", round(1000 * seconds))]
    campaigns.report(f"kill -9 of workers with {name}", counts)
