"""The disk is full in mid-commit: nothing is lost, nobody is blamed, and it goes on with room."""

import signal
import time

import campaigns
import pytest
from ingestion import QueueWatch, await_drained, contents
from small_disk import SmallDisk
from word_encoder import WordEncoder
from worker_process import WorkerProcess

import weft
from weft import Document
from weft.engine.errors import StorageError
from weft.workers import Client, dead_letters

OPTIONS = {"lease_seconds": 2, "sweep_seconds": 1, "maintenance_seconds": 1}
N_DOCUMENTS = 40
SECONDS = 60

LEFT = [("bytes", 0), ("inodes", 6), ("bytes", 16 << 10), ("bytes", 160 << 10), ("inodes", 0)]
"""What is left of the disk when the worker goes on, so that different steps fail."""


@pytest.fixture
def disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    reason = disk.mount()
    if reason:
        campaigns.lines.append(f"full disk: 1 not run, no file system can be mounted: {reason}.")
        pytest.skip(reason)
    yield disk
    disk.unmount()


@pytest.fixture
def worker(disk, redis_server, tmp_path):
    weft.Index.create(disk.path / "index", encoder=WordEncoder()).close()
    log = tmp_path / "worker.log"
    worker = WorkerProcess(disk.path / "index", redis_server.url, log, **OPTIONS)
    yield worker.start()
    worker.signal_all(signal.SIGCONT)
    worker.kill()


def submit(client, name):
    words = " ".join(f"word{n}" for n in range(100))
    texts = {f"{name}{n}": f"{name} {n} {words}" for n in range(N_DOCUMENTS)}
    ids = [client.submit([Document(id, text)]) for id, text in texts.items()]
    return ids, texts


def await_logged(worker, text, count):
    deadline = time.monotonic() + SECONDS
    while worker.log.read_text(errors="replace").count(text) < count:
        assert time.monotonic() < deadline, worker.log.read_text()[-4000:]
        time.sleep(0.05)


def fill(disk, what):
    kind, free = what
    {"bytes": disk.fill, "inodes": disk.fill_inodes}[kind](free)


@pytest.mark.parametrize("what", LEFT if campaigns.FULL else LEFT[:2], ids=str)
def test_full_in_mid_commit(disk, worker, redis_server, what):
    path = disk.path / "index"
    with (
        Client(path, redis_server.url) as client,
        weft.Index.open(path, encoder=WordEncoder()) as index,
    ):
        old_ids, old = submit(client, "old")
        assert client.wait(old_ids[-1], SECONDS).state == "committed"
        await_drained(QueueWatch(path), SECONDS)
        # The worker sleeps until its disk is full.
        worker.signal_all(signal.SIGSTOP)
        new_ids, new = submit(client, "new")
        fill(disk, what)
        worker.signal_all(signal.SIGCONT)
        await_logged(worker, "No space left on device", 2)
        accepted = assert_served(index, path, client, old)
        disk.empty()
        assert client.wait(new_ids[-1], SECONDS).state == "committed"
        await_drained(QueueWatch(path), SECONDS)
    assert dead_letters(path) == []
    assert contents(path) == old | new | accepted
    worker.stop()
    assert [name for name in (path / "inbox").iterdir() if not name.name.isdigit()] == []
    campaigns.report("full disk", [("recovered", 1), (f"{what[0]} left", what[1])])


def assert_served(index, path, client, old):
    """What was there is found, by whoever had it open and by whoever opens it now."""
    for hit in index.search("old 7", 5):
        assert hit.id in old
    assert contents(path) == old
    assert client.status(f"{1:016d}").state == "committed"
    return submit_until_refused(client)


def submit_until_refused(client):
    """What still found room; the client is told of what did not."""
    accepted = {}
    with pytest.raises(StorageError, match="No space left"):
        for n in range(1000):
            text = f"late {n} " + "word " * 2000
            client.submit([Document(f"late{n}", text)])
            accepted[f"late{n}"] = text
    return accepted
