"""What others commit during a repair is neither undone nor told as lost."""

import errno

import pytest
from forgery import segment_folder
from storage_tools import add, contents, document

import weft.engine.storage.repair as module
from weft.engine.errors import StorageError
from weft.engine.storage.check import check, inspect
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations
from weft.engine.storage.reader import Reader
from weft.engine.storage.repair import repair
from weft.engine.storage.writer import Writer


class Refusing(LocalDirectory):
    """Refuses to read the newest manifest, as often as it is told."""

    refusals = 0
    error: Exception

    def read(self, name, offset=0, length=None):
        newest = f"manifest.{generations(self)[-1]:016d}.json"
        if name == newest and self.refusals:
            self.refusals -= 1
            raise self.error
        return super().read(name, offset, length)


def held(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return set(contents(snapshot))


@pytest.fixture
def directory(index, flip):
    """With a writer that has had it open since before its first segment was damaged."""
    directory = Refusing(index, durable=False)
    with Writer(LocalDirectory(index, durable=False)) as writer:
        directory.writer = writer
        flip(segment_folder(index) / "passages.sqlite", 4000)
        yield directory


def meanwhile(monkeypatch, action, times=1):
    """Something happens right after each of the first checks."""
    left = [times]

    def inspect_and_act(place):
        found = inspect(place)
        if left[0]:
            left[0] -= 1
            action(left[0])
        return found

    monkeypatch.setattr(module, "inspect", inspect_and_act)


@pytest.mark.parametrize("commits", [True, False])
def test_a_refusal_in_passing_undoes_nothing(directory, monkeypatch, commits):
    def action(_):
        if commits:
            add(directory.writer, [document("acknowledged")])
        directory.refusals = 1
        directory.error = StorageError(errno.EMFILE, "cannot read (Too many open files)")

    before = generations(directory)[-1]
    meanwhile(monkeypatch, action)
    with pytest.raises(StorageError, match="Too many open files"):
        repair(directory)
    assert generations(directory)[-1] == before + commits
    assert repair(directory).repaired
    assert ("acknowledged" in held(directory)) == commits


def test_a_manifest_that_was_collected_just_now(directory, monkeypatch):
    def action(_):
        add(directory.writer, [document("acknowledged")])
        directory.refusals = 1
        directory.error = FileNotFoundError(errno.ENOENT, "No such file", "manifest")

    meanwhile(monkeypatch, action)
    assert repair(directory).repaired
    assert "acknowledged" in held(directory)


def test_what_a_writer_has_replaced_meanwhile_is_not_lost(directory, monkeypatch):
    """It knew the documents from before, and has added one of them again."""
    meanwhile(monkeypatch, lambda _: add(directory.writer, [document("d20", 7)], replace=True))
    report = repair(directory)
    lost = {id for part in report.lost for id in part.ids}
    assert "d20" not in lost and "d21" in lost and report.check.generation == 7
    assert "d20" in held(directory) and check(directory).ok


def test_writers_that_are_always_quicker(directory, monkeypatch):
    """The damage that was found goes all the same."""
    commit = lambda n: add(directory.writer, [document(f"quick-{n}")])  # noqa: E731
    meanwhile(monkeypatch, commit, times=100)
    assert repair(directory).repaired
    assert check(directory).ok
    assert {f"quick-{n}" for n in (99, 98, 97, 96)} <= held(directory)
