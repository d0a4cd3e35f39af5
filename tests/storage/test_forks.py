"""Forked processes: the parent keeps its pins and staged files, the child gets its own."""

import os
import signal
import threading

import pytest
from storage_tools import add, contents, documents, make_batch, new_index

from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

EXPECTED = {d.id: d for d in documents(4)}


@pytest.fixture
def directory(tmp_path):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        add(writer, documents(4))
    return directory


def in_child(action):
    """Run an action in a forked process, which must come to its end."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            signal.alarm(20)
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_child_leaves_its_parents_pins(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        pins = directory.list("pins")

        def close():
            snapshot.close()
            reader.close()

        in_child(close)
        assert directory.list("pins") == pins
        in_child(snapshot.__del__)
        assert directory.list("pins") == pins


def test_a_child_pins_what_it_uses(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert contents(snapshot) == EXPECTED
        pins = set(directory.list("pins"))
        in_child(lambda: None)
        assert set(directory.list("pins")) == pins

        def use():
            assert contents(snapshot) == EXPECTED
            assert len(directory.list("pins")) == 2 * len(pins)
            with reader.snapshot() as another:
                assert contents(another) == EXPECTED
            snapshot.close()
            reader.close()
            assert set(directory.list("pins")) == pins

        in_child(use)
        assert set(directory.list("pins")) == pins
        assert contents(snapshot) == EXPECTED


def test_a_fork_while_another_thread_holds_the_locks(directory):
    with Writer(directory) as writer, Reader(directory) as reader:
        held, done = threading.Event(), threading.Event()

        def hold():
            with writer.lock, reader.lock, reader._pool.connections._lock:
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)

        def use():
            with reader.snapshot() as snapshot:
                assert contents(snapshot) == EXPECTED
            writer.commit([], delete=["d0"])

        in_child(use)
        done.set()
        thread.join()
        with reader.snapshot() as snapshot:
            assert set(contents(snapshot)) == set(EXPECTED) - {"d0"}


def test_a_child_leaves_what_its_parent_has_staged(directory):
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=10)))
        in_child(writer.close)
        writer.commit(staged)
        with writer.snapshot() as snapshot:
            assert len(contents(snapshot)) == 6
