"""An interrupt at any moment: the process lives on, and the index is as before or as after."""

import shutil
import threading
from contextlib import contextmanager

import pytest
from storage_tools import add, contents, document, documents, make_batch, new_index

from weft.engine.errors import InvalidParameterError
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

START = {d.id: d for d in documents(12)}


class InterruptedDirectory(LocalDirectory):
    """Raises KeyboardInterrupt once, right before or right after one of its calls."""

    def __init__(self, path):
        super().__init__(path, durable=False)
        self.moments_left = 10**9
        self.moments = 0

    def moment(self):
        self.moments += 1
        self.moments_left -= 1
        if self.moments_left == -1:
            raise KeyboardInterrupt


def interrupted(name):
    original = getattr(LocalDirectory, name)

    def call(self, *arguments, **options):
        self.moment()
        result = original(self, *arguments, **options)
        self.moment()
        return result

    return call


def interrupted_context(name):
    original = getattr(LocalDirectory, name)

    @contextmanager
    def call(self, *arguments, **options):
        self.moment()
        with original(self, *arguments, **options) as value:
            yield value
        self.moment()

    return call


for _name in ("publish", "sync_folder", "touch", "remove", "exists", "list", "read", "map"):
    setattr(InterruptedDirectory, _name, interrupted(_name))
for _name in ("create", "create_by_path"):
    setattr(InterruptedDirectory, _name, interrupted_context(_name))


def upsert(writer):
    staged = [writer.stage(make_batch([document("d1", 1)])), writer.stage(make_batch([X]))]
    writer.commit(staged, delete=["d3"], replace=True)


def delete(writer):
    writer.commit([], delete=["d1", "d11"])


X = document("x", 1)
UPSERTED = START | {"d1": document("d1", 1), "x": X}
UPSERTED.pop("d3")
DELETED = {id: d for id, d in START.items() if id not in ("d1", "d11")}


def run(path, operation, moment):
    """Run an operation that is interrupted at a moment; whether it came to its end."""
    directory = InterruptedDirectory(path)
    with Writer(directory) as writer:
        directory.moments_left = moment
        try:
            operation(writer)
        except KeyboardInterrupt:
            return False
        finally:
            directory.moments_left = 10**9
            with writer.snapshot() as snapshot:
                contents(snapshot)
    return True


@pytest.mark.parametrize(
    ("operation", "expected"),
    [(upsert, UPSERTED), (delete, DELETED), (compact, START)],
    ids=["upsert", "delete", "compact"],
)
def test_an_interrupt_at_each_call(tmp_path, operation, expected):
    template = new_index(tmp_path / "template", flat_below_tokens=50).path
    with Writer(template) as writer:
        add(writer, documents(6))
        add(writer, [*documents(6, first=6), document("gone")])
        writer.commit([], delete=["gone"])
    outcomes = []
    for moment in range(1000):
        path = tmp_path / "index"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(template, path)
        finished = run(path, operation, moment)
        with Reader(path) as reader, reader.snapshot() as snapshot:
            found = contents(snapshot)
            outcomes.append(snapshot.generation)
        assert found in (START, expected), f"after {moment} moments"
        if finished:
            break
    assert finished and found == expected
    # The old generation, then the new one, and both were met.
    assert outcomes == sorted(outcomes) and len(set(outcomes)) == 2


class WaitingDirectory(LocalDirectory):
    """Lets another thread run for a moment while a manifest is being published."""

    def __init__(self, path):
        super().__init__(path, durable=False)
        self.publishing = threading.Event()
        self.intruder_done = threading.Event()

    def publish(self, source, name):
        self.publishing.set()
        self.intruder_done.wait(0.3)
        super().publish(source, name)


def intrude(directory, action):
    """A thread that acts while a manifest is being published."""

    def wait_and_act():
        directory.publishing.wait(10)
        action()
        directory.intruder_done.set()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_closing_during_a_commit(tmp_path):
    directory = WaitingDirectory(new_index(tmp_path / "index").path)
    writer = Writer(directory)
    staged = writer.stage(make_batch(documents(3)))
    thread = intrude(directory, writer.close)
    writer.commit(staged)
    thread.join()
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert len(contents(snapshot)) == 3


def test_two_commits_of_one_segment(tmp_path, monkeypatch):
    directory = WaitingDirectory(new_index(tmp_path / "index").path)
    with Writer(directory) as writer:
        staged = [writer.stage(make_batch([document(id)])) for id in ("a", "b")]
        let_go, refused = writer._reader.let_go, threading.Event()

        def let_go_slowly(name):
            let_go(name)
            refused.wait(0.3)

        def commit_again():
            with pytest.raises(InvalidParameterError, match="was committed"):
                writer.commit(staged)
            refused.set()

        thread = intrude(directory, commit_again)
        monkeypatch.setattr(writer._reader, "let_go", let_go_slowly)
        writer.commit(staged)
        thread.join()
        assert refused.is_set()
        with writer.snapshot() as snapshot:
            assert set(contents(snapshot)) == {"a", "b"}
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert set(contents(snapshot)) == {"a", "b"}
