"""Other threads act while a manifest is being published."""

import threading

import pytest
from storage_tools import contents, document, documents, make_batch, new_index

from weft.engine.errors import InvalidParameterError
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


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
