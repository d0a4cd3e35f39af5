"""A writer that stops while it writes, until what it wrote is taken for left behind."""

import re
from contextlib import contextmanager
from functools import partial
from shutil import copytree

import pytest
from campaigns import FULL
from storage_tools import add, contents, document, make_batch, new_index

from weft.engine.errors import StorageError
from weft.engine.storage.check import check
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

WRITTEN = ("segments/", "tombstones/", "codec/", "tmp.")


class Sleepy(LocalDirectory):
    """Sleeps once: before the n-th call on what is being written, or as its context ends."""

    def __init__(self, path, calls_left, meanwhile):
        super().__init__(path, durable=False)
        self.calls_left, self.meanwhile = calls_left, meanwhile

    def _call(self, name):
        if f"{name}/".startswith(WRITTEN):
            self.calls_left -= 1
            if self.calls_left == -1:
                self.meanwhile()

    @contextmanager
    def create(self, name, *, durable=True):
        self._call(name)
        with super().create(name, durable=durable) as file:
            yield file
            self._call(name)

    @contextmanager
    def create_by_path(self, name):
        self._call(name)
        with super().create_by_path(name) as path:
            self._call(name)
            yield path
            self._call(name)

    def read(self, name, offset=0, length=None):
        self._call(name)
        return super().read(name, offset, length)

    def status(self, name):
        self._call(name)
        return super().status(name)

    def sync_folder(self, folder=""):
        self._call(folder)
        super().sync_folder(folder)

    def touch(self, name):
        self._call(name)
        super().touch(name)

    def publish(self, source, name):
        self._call(source)
        super().publish(source, name)


def others(directory):
    """What is not renewed meanwhile is collected: in two steps, with a commit between them."""
    for n in range(3):
        with Writer(directory) as writer:
            add(writer, [document(f"other-{n}")])
        collect(directory, superseded_seconds=0, staged_seconds=0)


def held(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return set(contents(snapshot))


def new(path):
    """An index of several small segments, which a compaction makes one with a codec."""
    with Writer(new_index(path, flat_below_tokens=40)) as writer:
        for n in range(4):
            add(writer, [document(f"d{4 * n + m}") for m in range(4)])


def replace(writer):
    writer.commit(writer.stage(make_batch([document("d0", 1)])), replace=True)


@pytest.mark.parametrize(("act", "stride"), [(replace, 1), (compact, 1 if FULL else 4)])
def test_asleep_at_any_call(tmp_path, act, stride):
    """Every error is one that tells what to do, and nothing is applied by halves."""
    told = []
    new(tmp_path / "new")
    for n_calls in range(0, 1000, stride):
        directory = LocalDirectory(tmp_path / f"{n_calls}", durable=False)
        copytree(tmp_path / "new", directory.path)
        sleepy = Sleepy(directory.path, 10**9, partial(others, directory))
        with Writer(sleepy) as writer:
            sleepy.calls_left = n_calls
            try:
                act(writer)
            except StorageError as error:
                told.append(str(error))
            slept = sleepy.calls_left < 0
            sleepy.meanwhile = lambda: None
            add(writer, [document("later")])
        assert check(directory).ok
        expected = {f"d{n}" for n in range(16)} | {f"other-{n}" for n in range(3 * slept)}
        assert held(directory) == expected | {"later"}
        if not slept:
            break
    assert n_calls > 20 and sum("collected" in text for text in told) > 5
    assert all(re.search("start again|Read the index again|SQLite", text, re.I) for text in told)
