"""Conversions stop at any moment, meet other writers, and go on."""

import pytest
from lineage_tools import (
    add,
    check,
    domain,
    epochs,
    fill,
    names,
    new_index,
    passages,
    two_epochs,
)
from storage_tools import DyingDirectory, Killed

from weft.engine.storage import conversion, lineage
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.reader import Reader
from weft.engine.storage.replacement import Replacement
from weft.engine.storage.writer import Writer

pytestmark = pytest.mark.usefixtures("unheld")


def test_a_conversion_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "STEP_TOKENS", 700)
    directory, store = new_index(tmp_path / "index", bits=4), {}
    two_epochs(directory, store)
    steps = 0
    while True:
        # Each time by another writer, as after a kill.
        with Writer(directory) as writer:
            report = maintain(writer, max_steps=1)
        if not names(report):
            break
        steps += 1
        check(directory, store)
        with Reader(directory) as reader, reader.snapshot() as snapshot:
            manifest = snapshot.manifest
            converted = [manifest.codec_of(s) is manifest.codec for s in manifest.segments]
        # The codec of the first epoch leaves with the last segment that needs it.
        assert (len(manifest.codecs) == 1) == all(converted)
    assert steps > 900 * 12 / 800
    assert epochs(directory) == [(2, 0)]


def meanwhile(monkeypatch, action):
    """Run something once, after the new files were written and before their commit."""
    real = Replacement.commit

    def commit(self):
        monkeypatch.setattr(Replacement, "commit", real)
        action()
        return real(self)

    monkeypatch.setattr(Replacement, "commit", commit)


@pytest.fixture(params=[700, 10**6], ids=["parts", "whole"])
def begun(tmp_path, monkeypatch, request):
    """A second epoch, and segments of the first that are converted in parts or as a whole."""
    monkeypatch.setattr(conversion, "STEP_TOKENS", request.param)
    directory, store = new_index(tmp_path / "index", bits=4), {}
    two_epochs(directory, store)
    return directory, store


def test_what_others_change_meanwhile_is_kept(begun, monkeypatch):
    directory, store = begun

    def changes():
        with Writer(directory) as other:
            rows = passages(domain(1), 2, 777)
            add(other, ["a1", "new"], rows, replace=True)
            store.update(zip(["a1", "new"], rows, strict=True))
            other.commit([], delete=["a2", "a99", "g3-4"])
            for id in ("a2", "a99", "g3-4"):
                del store[id]

    meanwhile(monkeypatch, changes)
    with Writer(directory) as writer:
        assert names(maintain(writer, max_steps=1)) == ["convert"]
        check(directory, store)
        maintain(writer)
    check(directory, store)
    assert epochs(directory) == [(2, 0)]


def test_two_that_convert_the_same_segment(begun, monkeypatch):
    directory, store = begun

    def rival():
        with Writer(directory) as other:
            maintain(other, max_steps=2)

    meanwhile(monkeypatch, rival)
    with Writer(directory) as writer:
        maintain(writer)
    check(directory, store)
    assert epochs(directory) == [(2, 0)]


@pytest.mark.parametrize("rival_steps", [1, 100])
def test_one_of_two_codecs_wins(tmp_path, monkeypatch, rival_steps):
    directory, store = new_index(tmp_path / "index", bits=4), {}
    with Writer(directory) as writer, Writer(directory) as other:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        rivals = []
        meanwhile(monkeypatch, lambda: rivals.append(maintain(other, max_steps=rival_steps)))
        report = maintain(writer)
        assert names(rivals[0])[0] == "train"
        assert names(report) == ([] if rival_steps > 1 else ["convert"])
    check(directory, store)
    assert len(directory.list("codec")) == 1


@pytest.mark.parametrize("part", range(6))
def test_killed_at_any_call(tmp_path, monkeypatch, part):
    """Whatever a kill leaves behind opens, holds everything, and maintenance goes on."""
    monkeypatch.setattr(conversion, "STEP_TOKENS", 900)
    monkeypatch.setattr(lineage, "GROWTH", 2)
    directory, store = new_index(tmp_path / "index", bits=4), {}
    with Writer(directory) as writer:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        maintain(writer)
        fill(writer, store, "b", passages(domain(2), 110, 2))
        writer.commit([], delete=["a1", "b1"])
    del store["a1"], store["b1"]
    calls = 1 + 7 * part
    while True:
        dying = DyingDirectory(directory, calls)
        try:
            with Writer(dying) as writer:
                maintain(writer, max_steps=2)
            break
        except Killed:
            check(directory, store)
        calls += 41
    with Writer(directory) as writer:
        maintain(writer)
        assert names(maintain(writer)) == []
    check(directory, store)
    assert epochs(directory) == [(2, 0)]
