"""A process that dies at any call: what was acknowledged is there, the rest never halfway."""

import shutil

import pytest
from storage_tools import (
    DyingDirectory,
    Killed,
    add,
    contents,
    document,
    documents,
    make_batch,
    new_index,
)

from weft.engine.errors import IndexNotFoundError
from weft.engine.storage import create_index
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations
from weft.engine.storage.manifest import IndexSettings
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

START = {f"d{n}": document(f"d{n}") for n in range(30)}


def upsert(writer):
    staged = [
        writer.stage(make_batch([document("d1", 1), document("x", 1)])),
        writer.stage(make_batch([document("d2", 1)])),
    ]
    writer.commit(staged, delete=["d3"], replace=True)


def delete(writer):
    writer.commit([], delete=["d1", "d29", "nobody"])


def compact_it(writer):
    compact(writer)


def collect_it(writer):
    writer.collect(superseded_seconds=0)


UPSERTED = START | {"d1": document("d1", 1), "d2": document("d2", 1), "x": document("x", 1)}
UPSERTED.pop("d3")
DELETED = {id: d for id, d in START.items() if id not in ("d1", "d29")}
OPERATIONS = {
    "upsert": (upsert, UPSERTED),
    "delete": (delete, DELETED),
    "compact": (compact_it, START),
    "collect": (collect_it, START),
}


@pytest.fixture
def template(tmp_path):
    """Three segments and a tombstone; compaction trains a codec."""
    directory = new_index(tmp_path / "template", flat_below_tokens=50)
    with Writer(directory) as writer:
        for n in range(3):
            add(writer, documents(11, first=11 * n))
        writer.commit([], delete=["d30", "d31", "d32"])
    return directory.path


def run(template, path, operation, calls):
    """Run an operation that dies after so many calls; whether it came to its end."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(template, path)
    local = LocalDirectory(path, durable=False)
    directory = DyingDirectory(local, calls_left=10**9)
    writer = Writer(directory)
    directory.calls_left = calls
    try:
        operation(writer)
    except Killed:
        return False
    else:
        return True
    finally:
        directory.dead = True
        for call in (writer.close, writer._reader.close):
            try:
                call()
            except Killed:
                continue


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_dying_at_each_call(template, tmp_path, name):
    operation, expected = OPERATIONS[name]
    path = tmp_path / "index"
    outcomes = set()
    for calls in range(1000):
        finished = run(template, path, operation, calls)
        directory = LocalDirectory(path, durable=False)
        with Reader(directory) as reader, reader.snapshot() as snapshot:
            found = contents(snapshot)
            assert found in (START, expected), f"after {calls} calls"
            outcomes.add(found == expected)
        with Writer(directory) as writer:
            add(writer, [document("later")])
            if calls % 8 == 0:
                compact(writer)
            collect(directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0)
            with writer.snapshot() as snapshot:
                assert contents(snapshot) == found | {"later": document("later")}
                named = {ref.id for ref in snapshot.manifest.segments}
        assert len(generations(directory)) == 1
        assert set(directory.list("segments")) == named
        if finished:
            assert found == expected
            break
    else:
        raise AssertionError("the operation never ended")
    assert calls > 3 and outcomes == ({True, False} if expected != START else {True})


def test_dying_while_an_index_is_made(tmp_path):
    for calls in range(100):
        path = tmp_path / str(calls)
        directory = DyingDirectory(LocalDirectory(path, durable=False), calls_left=calls)
        try:
            create_index(directory, dim=8, encoder=None, settings=IndexSettings())
            break
        except Killed:
            try:
                Reader(path).close()
            except IndexNotFoundError:
                create_index(path, dim=8, encoder=None)
        with Writer(path) as writer:
            add(writer, documents(1))
    assert calls > 5
