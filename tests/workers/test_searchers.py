"""Searchers beside workers that commit ten times a second and maintain the index."""

import json
import multiprocessing
import os
import shutil
import threading
import time
from random import Random

import campaigns
import pytest
from ingestion import Ledger, QueueWatch, await_drained
from scratch import scratch_folder
from searching import Searching, SoakEncoder, answers, keep_codecs, quantile_ms, search
from soak_oracle import Oracle
from soaking import N_FIRST_IDS, N_IDS
from worker_process import WorkerProcess

from weft import Document, Index
from weft.workers import Client

SECONDS = campaigns.size(5, 300)
SECONDS_OF_MANY = campaigns.size(3, 60)
IDLE_SECONDS = campaigns.size(2, 30)
COMMITS_PER_SECOND = 10
OPTIONS = {"soak": True, "maintenance_seconds": 0.5, "sweep_seconds": 1, "threads": 1}


@pytest.fixture
def folder():
    made = scratch_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def workers(folder, redis_server):
    with Index.create(
        folder / "index", encoder=SoakEncoder(), bits=8, flat_below_tokens=100
    ) as index:
        ids = [f"d{n}" for n in range(N_FIRST_IDS)]
        even = [{"even": True}] * len(ids)
        index.add([f"version 0 of {id}" for id in ids], ids=ids, metadata=even)
    made = []
    for kind in ("encode", "maintenance"):
        options = OPTIONS | {"kinds": [kind]}
        log = folder / f"{kind}.txt"
        made.append(WorkerProcess(folder / "index", redis_server.url, log, **options).start())
    os.setpriority(os.PRIO_PGRP, made[1].process.pid, 10)
    yield made
    for worker in made:
        worker.kill()


class Stream(threading.Thread):
    """Submits changes, one after another, so that each is a commit."""

    def __init__(self, path, broker, seconds):
        super().__init__()
        self.ledger, self.client = Ledger(), Client(path, broker)
        self.end = time.monotonic() + seconds
        self.start()

    def run(self):
        random, number, due = Random(1), 0, time.monotonic()
        with self.client:
            while due < self.end:
                number += 1
                self.change(random, number)
                # By the clock: what a submission takes must not slow the stream down. After a
                # pause it does not catch up, since that would come in few commits.
                due = max(due + 1 / COMMITS_PER_SECOND, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))

    def change(self, random, number):
        present = min(N_IDS, N_FIRST_IDS + number)
        ids = random.sample([f"d{n}" for n in range(present)], random.randint(1, 4))
        if number % 4 == 0:
            documents, deletions = [], ids
        else:
            ids = dict.fromkeys([*ids, f"d{present - 1}"])
            even = {"even": number % 2 == 0}
            documents = [Document(id, f"version {number} of {id}", even) for id in ids]
            deletions = []
        id = self.client.submit(documents, delete=deletions)
        self.ledger.note(id, documents, deletions)


def changes_of_generations(worker, ledger):
    """For the oracle: what each generation has changed, from the worker's log."""
    for line in worker.log.read_text().splitlines():
        record = json.loads(line) if line.startswith("{") else {}
        if not record.get("message", "").startswith("Generation "):
            continue
        changed = {}
        for id in sorted(record.get("submissions", ())):
            changed |= ledger.changes[int(id)]
        yield {
            "generation": int(record["message"].split()[1].rstrip(":")),
            "put": {id: int(text.split()[1]) for id, text in changed.items() if text},
            "delete": [id for id, text in changed.items() if not text],
        }


def searched(folder, name, n_threads, seconds):
    """Search in a process of its own; the answers."""
    given = Searching(str(folder / "index"), str(folder / name), n_threads, seconds)
    process = multiprocessing.get_context("spawn").Process(target=search, args=(given,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return answers(given)


@pytest.mark.parametrize(("n_threads", "seconds"), [(2, SECONDS), (16, SECONDS_OF_MANY)])
def test_searchers_beside_workers(folder, redis_server, workers, n_threads, seconds):
    path = folder / "index"
    stream = Stream(path, redis_server.url, seconds + 1)
    found = searched(folder, "busy", n_threads, seconds)
    stream.join()
    await_drained(QueueWatch(path), 60, lambda: workers[0].log.read_text()[-3000:])
    for worker in workers:
        worker.stop()
    idle = searched(folder, "idle", n_threads, IDLE_SECONDS)
    changed = list(changes_of_generations(workers[0], stream.ledger))
    codecs = keep_codecs(path, folder)
    oracle = Oracle(changed, codecs)
    oracle.check(found)
    oracle.check(idle)
    assert len(changed) > 4 * seconds and len(found) > 100 and codecs
    report(n_threads, seconds, found, idle, changed, codecs)


def report(n_threads, seconds, found, idle, changed, codecs):
    busy_ms, idle_ms = quantile_ms(found, 0.99), quantile_ms(idle, 0.99)
    counts = [("seconds", seconds), ("commits", len(changed)), ("codecs", len(codecs))]
    counts += [("generations", found[-1]["after"]), ("answers compared", len(found) + len(idle))]
    counts += [("us p50", round(1000 * quantile_ms(found, 0.5)))]
    counts += [("us p50 idle", round(1000 * quantile_ms(idle, 0.5)))]
    counts += [("us p99", round(1000 * busy_ms)), ("us p99 idle", round(1000 * idle_ms))]
    counts += [("% of idle p99", round(100 * busy_ms / idle_ms))]
    campaigns.report(f"{n_threads} search threads beside workers", counts)
