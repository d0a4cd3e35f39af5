"""Leases: who lives, by whose clock, and for how long."""

import os
import threading
import time

import pytest

from weft.engine.errors import StorageError
from weft.engine.storage.directory import LocalDirectory
from weft.workers.leases import Lease, is_alive, lease_name, remove_expired


@pytest.fixture
def directory(tmp_path):
    return LocalDirectory(tmp_path)


def age(directory, lease, seconds):
    then = time.time() - seconds
    os.utime(directory.path / lease_name(lease.owner), (then, then))


def test_a_lease_lives_as_long_as_it_says(directory):
    """Whatever the settings of whoever looks are."""
    short, usual = Lease(directory, seconds=1), Lease(directory)
    for lease in (short, usual):
        assert lease.take()
        assert is_alive(directory, lease.owner)
    later = directory.clock_seconds() + 5
    assert not is_alive(directory, short.owner, later)
    assert is_alive(directory, usual.owner, later)
    assert not is_alive(directory, usual.owner, later + 30)
    short.close()
    assert not is_alive(directory, short.owner)
    usual.close()


@pytest.mark.parametrize("content", [b"", b"nan", b"-1", b"soon", b"\xff" * 99])
def test_a_lease_that_says_nonsense_is_good_for_the_usual_time(directory, content):
    directory.sync_folder("inbox")
    (directory.path / lease_name("worker.x")).write_bytes(content)
    now = directory.clock_seconds()
    assert is_alive(directory, "worker.x", now + 20)
    assert not is_alive(directory, "worker.x", now + 40)


def test_no_lease_is_good_for_ever(directory):
    directory.sync_folder("inbox")
    (directory.path / lease_name("worker.x")).write_bytes(b"1e300")
    assert not is_alive(directory, "worker.x", directory.clock_seconds() + 4000)
    with_hour = directory.clock_seconds
    directory.clock_seconds = lambda: with_hour() + 4000
    remove_expired(directory)
    assert directory.list("inbox") == []


def test_it_is_renewed(directory):
    with Lease(directory, seconds=1) as lease:
        lease.take()
        time.sleep(1.5)
        assert is_alive(directory, lease.owner)


def test_threads_take_one_lease_together(directory):
    """They are one process: none takes the other for a foreign one."""
    for _ in range(20):
        lease, gate, found = Lease(directory), threading.Barrier(4), []

        def take(lease=lease, gate=gate, found=found):
            gate.wait()
            found.append(lease.take())

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 4
        lease.close()


def test_a_full_disk_leaves_no_lease_that_looks_like_anothers(directory, monkeypatch):
    create = LocalDirectory.create

    def full(self, name, *, durable=True):
        with create(self, name, durable=durable):
            raise StorageError(28, "no space left on device")

    lease = Lease(directory)
    with monkeypatch.context() as patch:
        patch.setattr(LocalDirectory, "create", full)
        with pytest.raises(StorageError):
            lease.take()
    assert lease.take()
    lease.close()


def test_a_name_is_held_by_one_process(directory):
    first, second = Lease(directory, "maintenance"), Lease(directory, "maintenance")
    assert first.take()
    assert not second.take()
    first.close()
    assert second.take()
    second.close()


@pytest.mark.parametrize(
    "owner", ["", ".", "..", "../worker", "\ufffd", "worker/x", "x" * 300, "A\0"]
)
def test_what_is_no_name_is_nobody(directory, owner):
    """An attempt's file may hold anything; a worker that looks must not stumble over it."""
    assert not is_alive(directory, owner)
