"""Redis killed and restarted empty, flushed, and paused, while documents stream in."""

import shutil
import time
from random import Random

import campaigns
import pytest
from fleet import Fleet
from ingestion import Producers, QueueWatch, assert_equals, await_drained
from redis_server import RedisServer
from scratch import scratch_folder
from word_encoder import WordEncoder
from worker_process import WorkerProcess

import weft
from weft import Document
from weft.workers import Client, dead_letters

N_FAULTS = campaigns.size(1, 20)
PAUSED_SECONDS = campaigns.size(2, 30)
GONE_SECONDS = 2.0
"""Longest time for which a killed Redis stays away."""

DRAINED_SECONDS = 120
PASSAGES = 60
"""Before, in and after each fault."""

OPTIONS = {"limits": {"operations": 8}, "lease_seconds": 2, "maintenance_seconds": 3}
SHORT = {"sweep_seconds": 1}


@pytest.fixture
def folder():
    made = scratch_folder()
    yield made
    shutil.rmtree(made)


def restart_empty(redis, random, during):
    redis.kill()
    during()
    time.sleep(random.uniform(0, GONE_SECONDS))
    redis.start()


def flush(redis, random, during):
    during()
    redis.flush()


def pause(redis, random, during):
    redis.pause()
    during()
    time.sleep(PAUSED_SECONDS)
    redis.resume()


FAULTS = {"restarted empty": restart_empty, "flushed": flush, "paused": pause}


def go_through(fault, redis, producers, watch, fleet, random):
    """One fault; how long it took afterwards until nothing waited."""
    producers.allow(PASSAGES)
    time.sleep(random.uniform(0, 0.3))
    fault(redis, random, lambda: producers.allow(PASSAGES))
    producers.allow(PASSAGES)
    while producers.pending():
        time.sleep(0.01)
    return await_drained(watch, DRAINED_SECONDS, fleet.tell)


@pytest.mark.parametrize("name", FAULTS)
def test_redis_fails(folder, name):
    redis, path = RedisServer(folder).start(), folder / "index"
    weft.Index.create(path, encoder=WordEncoder()).close()
    fleet = Fleet(path, redis.url, folder, **(OPTIONS if campaigns.FULL else OPTIONS | SHORT))
    producers, watch = Producers(path, redis.url), QueueWatch(path)
    random = Random(name)
    try:
        fleet.await_oldest()
        slowest = max(
            go_through(FAULTS[name], redis, producers, watch, fleet, random)
            for _ in range(N_FAULTS)
        )
        producers.finish()
        watch.end()
        assert dead_letters(path) == []
        assert_equals(path, producers.ledger)
    finally:
        redis.kill()
        producers.close()
        fleet.close()
    counts = [("times", N_FAULTS), ("passages", producers.n_passages)]
    counts += [("changes", len(producers.ledger.changes))]
    counts += [("ms until all were searchable, at most", round(1000 * slowest))]
    campaigns.report(f"Redis {name}", counts)


def test_a_task_that_ends_while_redis_is_away(folder):
    """Its message cannot be acknowledged; the worker goes on all the same."""
    redis, path = RedisServer(folder).start(), folder / "index"
    weft.Index.create(path, encoder=WordEncoder()).close()
    options = OPTIONS | SHORT | {"poison": True, "pool": "prefork"}
    worker = WorkerProcess(path, redis.url, folder / "worker.log", **options)
    try:
        worker.start()
        with Client(path, redis.url) as client:
            slow = client.submit([Document("a", "slow")])
            while client.status(slow).state != "encoding":
                time.sleep(0.01)
            redis.kill()
            assert client.wait(slow, 60).state == "committed"
            time.sleep(0.5)
            redis.start()
            assert client.wait(client.submit([Document("b", "sound")]), 60).state == "committed"
    finally:
        worker.kill()
        redis.kill()
