"""Real workers with a real Redis: from submit to searchable, and everything that is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from ingestion import QueueWatch, await_drained, contents
from prometheus_client import CollectorRegistry
from redis_server import free_port
from word_encoder import WordEncoder
from worker_process import WorkerProcess

import weft
from weft import Document
from weft.engine.storage.layout import INBOX
from weft.workers import Client, WorkerSettings, dead_letters
from weft.workers.app import _celery
from weft.workers.gauges import Gauges
from weft.workers.settings import ENCODE, queue_name

FAST = {"lease_seconds": 2, "sweep_seconds": 1, "maintenance_seconds": 2}
SECONDS = 60


@contextmanager
def worker(index, redis_server, tmp_path, **options):
    name = f"worker-{len(list(tmp_path.glob('worker-*')))}.log"
    made = WorkerProcess(index.path, redis_server.url, tmp_path / name, **(FAST | options))
    try:
        yield made.start()
    finally:
        made.kill()


@pytest.fixture
def client(index, redis_server):
    with Client(index, redis_server.url) as client:
        yield client


def records(worker):
    """The log, which is JSON but for what is written before it is set up."""
    lines = worker.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def left_behind(index):
    return sorted(path.name for path in (index.path / INBOX).iterdir())


def submit_many(client, n, text="sound"):
    return [client.submit([Document(f"d{k}", f"{text} {k}")]) for k in range(n)]


def commits(worker):
    return [record for record in records(worker) if record["message"].startswith("Generation ")]


def test_from_submit_to_searchable(index, client, redis_server, tmp_path):
    with worker(index, redis_server, tmp_path) as running:
        first = client.submit([Document("a", "warp threads"), Document("b", "weft threads")])
        assert client.wait(first, SECONDS).state == "committed"
        assert index.search("weft", 1)[0].id == "b"
        second = client.submit([Document("c", "weft weft")], delete=["b"])
        assert client.wait(second, SECONDS).state == "committed"
        assert {hit.id for hit in index.search("weft", 5)} == {"a", "c"}
        told = [id for record in commits(running) for id in record["submissions"]]
        assert told == [first, second]
        running.stop()
    assert left_behind(index) == []


def test_what_waits_is_drained_although_redis_knows_nothing(index, redis_server, tmp_path):
    with Client(index) as silent:
        ids = submit_many(silent, 40)
        with worker(index, redis_server, tmp_path):
            assert silent.wait(ids[-1], SECONDS).state == "committed"
            late = silent.submit([Document("late", "told nobody")])
            assert silent.wait(late, SECONDS).state == "committed"
    assert len(contents(index.path)) == 41


def test_sigterm_in_mid_drain(index, client, redis_server, tmp_path):
    """What is in hand is finished or left alone, nothing stays marked; the next one goes on."""
    limits = {"operations": 4}
    ids = submit_many(client, 200)
    with worker(index, redis_server, tmp_path, limits=limits, drain_seconds=0.5) as running:
        client.wait(ids[20], SECONDS)
        running.stop()
        assert running.process.returncode == 0
        assert commits(running)
    assert [name for name in left_behind(index) if not name.isdigit()] == []
    assert client.waiting()
    with worker(index, redis_server, tmp_path):
        assert client.wait(ids[-1], SECONDS).state == "committed"
    assert contents(index.path) == {f"d{k}": f"sound {k}" for k in range(200)}


def test_a_long_queue_is_drained_task_after_task(index, redis_server, tmp_path):
    """A task that stops since its time is over hands on to the next, not to the sweep."""
    with Client(index) as silent:
        ids = submit_many(silent, 100)
        options = {"limits": {"operations": 2}, "drain_seconds": 0.1, "sweep_seconds": 50}
        with worker(index, redis_server, tmp_path, **options):
            assert silent.wait(ids[-1], 40).state == "committed"


def test_two_workers_share_the_work(index, client, redis_server, tmp_path):
    limits = {"operations": 2}
    with (
        worker(index, redis_server, tmp_path, limits=limits) as first,
        worker(index, redis_server, tmp_path, limits=limits) as second,
    ):
        ids = submit_many(client, 200)
        await_drained(QueueWatch(index.path), SECONDS)
        for running in (first, second):
            running.stop()
    counts = [len(commits(running)) for running in (first, second)]
    told = [id for w in (first, second) for record in commits(w) for id in record["submissions"]]
    assert min(counts) > 0, counts
    assert sorted(told) == ids, "each was applied by one of the two, once"
    assert contents(index.path) == {f"d{k}": f"sound {k}" for k in range(200)}


@pytest.mark.parametrize("word", ["failing", "killing"])
def test_poison_is_set_aside(index, client, redis_server, tmp_path, word):
    with worker(index, redis_server, tmp_path, poison=True) as running:
        batch = [Document("a", "sound"), Document("b", word), Document("c", "sound")]
        ids = [client.submit([document]) for document in batch]
        states = [client.wait(id, SECONDS).state for id in ids]
        assert states == ["committed", "failed", "committed"]
        after = client.submit([Document("d", "goes on")])
        assert client.wait(after, SECONDS).state == "committed"
    assert set(contents(index.path)) == {"a", "c", "d"}
    (letter,) = dead_letters(index.path)
    reason = "cannot be encoded" if word == "failing" else "worker died"
    assert reason in "".join(letter.reasons.values())
    deaths = running.log.read_text().count("exited with 'signal 9")
    assert deaths == (0 if word == "failing" else 3)


def test_an_encoding_that_does_not_end(index, client, redis_server, tmp_path):
    """It is interrupted by the time limit, three times; what came with it is committed."""
    with worker(index, redis_server, tmp_path, poison=True, time_limit_seconds=1):
        ids = [client.submit([Document(f"d{n}", t)]) for n, t in enumerate(["a", "endless", "b"])]
        states = [client.wait(id, SECONDS).state for id in ids]
    assert states == ["committed", "failed", "committed"]


def test_messages_that_no_client_sends(index, client, redis_server, tmp_path):
    app = _celery(redis_server.url)
    with index.snapshot() as view:
        uuid = view.manifest.index_uuid
    queue = queue_name(ENCODE, uuid)
    with worker(index, redis_server, tmp_path) as running:
        for arguments in (["f" * 32, 1], [uuid, "1"], [uuid, -1], [uuid, True], [uuid, 2**80]):
            app.send_task("weft.drain", args=arguments, queue=queue)
        for arguments in ([["a"], 1], [{}, {}], [None, None], [uuid], [uuid, 1, 2], [uuid, 1.5]):
            app.send_task("weft.drain", args=arguments, queue=queue)
        app.send_task("os.system", args=["true"], queue=queue)
        app.send_task("weft.sweep", args=["../../index"], queue=queue)
        app.send_task("weft.drain", args=[uuid, 1], queue=queue, serializer="yaml")
        id = client.submit([Document("a", "sound")])
        assert client.wait(id, SECONDS).state == "committed"
        messages = "".join(record["message"] for record in records(running))
    assert "does not serve index" in messages
    assert "is no submission" in messages
    assert client.status(id).generation == 2


@pytest.mark.parametrize("garbage", [b"garbage", b"\xff\xfe", b"{}", b"[" * 100_000])
def test_garbage_in_redis_itself(index, client, redis_server, tmp_path, garbage):
    """Celery may give up on what is no message at all, but says so, and nothing is lost."""
    with index.snapshot() as view:
        queue = queue_name(ENCODE, view.manifest.index_uuid)
    with worker(index, redis_server, tmp_path) as running:
        with redis_server.client() as redis:
            redis.lpush(queue, garbage)
        id = client.submit([Document("a", "sound")])
        if client.wait(id, 5).state != "committed":
            assert running.process.wait(SECONDS) != 0
            running.start()
        assert client.wait(id, SECONDS).state == "committed"


def metrics(port):
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
    lines = page.decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_metrics(index, client, redis_server, tmp_path):
    port = free_port()
    with worker(index, redis_server, tmp_path, poison=True, metrics_port=port):
        for id in submit_many(client, 3):
            client.wait(id, SECONDS)
        client.wait(client.submit([Document("bad", "failing")]), SECONDS)
        deadline = time.monotonic() + SECONDS
        while (values := metrics(port))["weft_dead_letters_total"] != "1.0":
            assert time.monotonic() < deadline, values
    assert float(values["weft_documents_total"]) == 3
    assert float(values["weft_submissions_total"]) == 3
    assert float(values["weft_lag_seconds_count"]) == 3


def test_metrics_tell_the_state_of_the_queue(index, client, tmp_path):
    registry = CollectorRegistry()
    registry.register(Gauges([index.path]))

    def gauge(name):
        return registry.get_sample_value(f"weft_{name}", {"index": str(index.path)})

    submit_many(client, 3)
    client.submit([Document("d", "text")], delete=["e"])
    assert (gauge("waiting_submissions"), gauge("waiting_operations")) == (4, 5)
    assert 0 <= gauge("oldest_waiting_seconds") < 60
    assert (gauge("dead_letters_held"), gauge("halted"), gauge("workers")) == (0, 0, 0)
    assert (gauge("generation"), gauge("segments")) == (1, 0)
    # Nothing is said of what is not known.
    assert gauge("drift_ratio") is None and gauge("skew") is None
    (index.path / INBOX / f"{1:016d}.dead").write_text('{"reasons":{}}')
    assert (gauge("waiting_submissions"), gauge("dead_letters_held")) == (3, 1)


def await_ready(worker, n):
    """Until so many processes have said that they can encode."""
    deadline = time.monotonic() + SECONDS
    while len(ready := [r for r in records(worker) if r["message"].startswith("Ready")]) < n:
        assert time.monotonic() < deadline, records(worker)
        time.sleep(0.02)
    return ready


@pytest.mark.parametrize(("pool", "n"), [("prefork", 2), ("threads", 1), ("solo", 1)])
def test_the_encoder_is_loaded_before_anything_is_submitted(index, redis_server, tmp_path, pool, n):
    """In each process, so that the first batch of none waits for it."""
    with worker(index, redis_server, tmp_path, pool=pool, concurrency=2) as running:
        assert len(await_ready(running, n)) == n


def test_a_worker_that_does_not_encode_loads_nothing(index, client, redis_server, tmp_path):
    with worker(index, redis_server, tmp_path, kinds=["maintenance"]) as idle:
        with worker(index, redis_server, tmp_path) as running:
            await_ready(running, 1)
            assert client.wait(client.submit([Document("a", "text")]), SECONDS).state == "committed"
        idle.stop()
    assert not [r for r in records(idle) if r["message"].startswith("Ready")]


def test_a_copy_of_an_index_is_told(index, redis_server, tmp_path):
    """It has the UUID of its original, and with it the queue."""
    copy = shutil.copytree(index.path, tmp_path / "copy")
    with weft.Index.open(copy, encoder=WordEncoder()) as other:
        with worker(index, redis_server, tmp_path) as first:
            await_ready(first, 1)
            with worker(other, redis_server, tmp_path) as second:
                deadline = time.monotonic() + SECONDS
                while not (told := [r for r in records(second) if "copy" in r["message"]]):
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        assert not [r for r in records(first) if "copy" in r["message"]]
    assert told[0]["level"] == "warning" and "database of its own" in told[0]["message"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_several_drains_in_one_worker(index, client, redis_server, tmp_path, pool):
    limits = {"operations": 2}
    with worker(index, redis_server, tmp_path, pool=pool, concurrency=3, limits=limits) as running:
        ids = submit_many(client, 60)
        await_drained(QueueWatch(index.path), SECONDS)
        errors = [record for record in records(running) if record["level"] == "error"]
        running.stop()
    assert errors == []
    assert left_behind(index) == []
    assert client.status(ids[-1]).state == "committed"


def test_a_redis_without_memory(index, redis_server, tmp_path):
    """It refuses messages; what it missed is drained once it has room."""
    with worker(index, redis_server, tmp_path), Client(index, redis_server.url) as client:
        with redis_server.client() as redis:
            redis.config_set("maxmemory", "1")
            ids = submit_many(client, 3)
            time.sleep(2)
            redis.config_set("maxmemory", "0")
        assert client.wait(ids[-1], SECONDS).state == "committed"


def test_celery_itself_can_run_it(tmp_path, redis_server):
    """By the environment alone; the model is loaded when there is something to encode."""
    from word_encoder import WordEncoder

    weft.Index.create(tmp_path / "index", encoder=WordEncoder()).close()
    settings = WorkerSettings((tmp_path / "index",), redis_server.url)
    command = [sys.executable, "-m", "celery", "-A", "weft.workers.app", "report"]
    done = subprocess.run(
        command,
        env={**os.environ, "WEFT_WORKER": settings.to_json()},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "weft.encode." in done.stdout
    without = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert "WEFT_WORKER" in without.stderr + without.stdout


def test_an_interrupt_from_the_terminal(index, client, redis_server, tmp_path):
    """SIGINT stops a worker as SIGTERM does, though Celery calls that a failure."""
    with worker(index, redis_server, tmp_path) as running:
        client.wait(client.submit([Document("a", "text")]), SECONDS)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(SECONDS) in (0, 1)
    assert left_behind(index) == []
