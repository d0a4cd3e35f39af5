"""A writer that sleeps around its link, while others commit and collect what it started from."""

import pytest
from storage_tools import add, contents, document, documents, make_batch, new_index

from weft.engine.errors import CommitUncertainError
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


class Sleepy(LocalDirectory):
    """Sleeps once, before or after it gives a manifest its name."""

    def __init__(self, path, moment, meanwhile):
        super().__init__(path, durable=False)
        self.moment, self.meanwhile = moment, meanwhile

    def sleep(self, moment):
        if self.moment == moment:
            self.moment = None
            self.meanwhile()

    def create(self, name, *, durable=True):
        if name.startswith("tmp."):
            self.sleep("before the manifest is written")
        return super().create(name, durable=durable)

    def publish(self, source, name):
        self.sleep("before the link")
        super().publish(source, name)
        self.sleep("after the link")


@pytest.fixture
def directory(tmp_path):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        add(writer, documents(3))
    return directory


def others(directory, n_commits, *, compacts=False):
    """What happens meanwhile; nothing is left of the generations before it."""
    with Writer(directory) as writer:
        for n in range(n_commits):
            add(writer, [document(f"other-{n}")])
        if compacts:
            compact(writer)
    collect(directory, superseded_seconds=0, pin_seconds=0)


def held(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        for view in snapshot.segments:
            view.files.verify()
        return set(contents(snapshot))


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("n_commits", [0, 1, 3])
def test_asleep_after_the_link(directory, n_commits, replace):
    sleepy = Sleepy(directory.path, "after the link", lambda: others(directory, n_commits))
    with Writer(sleepy) as writer:
        assert add(writer, [document("mine")], replace=replace).generation == 3
    assert held(directory) == {"d0", "d1", "d2", "mine"} | {f"other-{n}" for n in range(n_commits)}


def test_asleep_before_the_manifest_is_written(directory):
    sleepy = Sleepy(directory.path, "before the manifest is written", lambda: others(directory, 3))
    with Writer(sleepy) as writer:
        assert add(writer, [document("mine")]).generation == 6
    assert held(directory) == {"d0", "d1", "d2", "mine", "other-0", "other-1", "other-2"}


def test_asleep_before_the_link(directory):
    """The name is free again: the link is made, but it is below the newest generation."""
    sleepy = Sleepy(directory.path, "before the link", lambda: others(directory, 3))
    with Writer(sleepy) as writer:
        staged = writer.stage(make_batch([document("mine")]))
        with pytest.raises(CommitUncertainError, match="slept"):
            writer.commit(staged)
    assert held(directory) == {"d0", "d1", "d2", "other-0", "other-1", "other-2"}
    collect(directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0)
    assert generations(directory) == [5]


def test_asleep_after_the_link_until_nothing_tells(directory):
    """Compaction has left no file of the commit: its outcome is told as unknown, and it stands."""
    meanwhile = lambda: others(directory, 1, compacts=True)  # noqa: E731
    with Writer(Sleepy(directory.path, "after the link", meanwhile)) as writer:
        staged = writer.stage(make_batch([document("mine")]))
        with pytest.raises(CommitUncertainError, match="slept"):
            writer.commit(staged)
    assert held(directory) == {"d0", "d1", "d2", "mine", "other-0"}
