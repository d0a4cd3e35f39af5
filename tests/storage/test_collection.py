"""Collection removes what nobody needs, in ascending order, and nothing else."""

import time
from contextlib import contextmanager

import pytest
from storage_tools import add, contents, document, documents, make_batch, new_index

from weft.engine.errors import IndexNotFoundError, StorageError
from weft.engine.storage import writer as writers
from weft.engine.storage.collection import collect
from weft.engine.storage.commit import Outcome
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations, manifest_name
from weft.engine.storage.pins import write_pin
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


@pytest.fixture
def directory(tmp_path):
    """Six generations; the last is one compacted segment, and nobody reads."""
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        for n in range(3):
            add(writer, documents(3, first=3 * n))
        writer.commit([], delete=["d0", "d4"])
        compact(writer)
    return directory


def everything(directory):
    return sorted(p.relative_to(directory.path) for p in directory.path.rglob("*"))


def commit_later(directory):
    """A commit by another writer, after the clock of the file system has moved on."""
    time.sleep(0.02)
    with Writer(directory) as other:
        add(other, [document("later")], replace=True)


def collect_all(directory):
    """Twice with a commit between them: what was staged is condemned by the first one."""
    grace = {"superseded_seconds": 0, "staged_seconds": 0, "pin_seconds": 0}
    removed = collect(directory, **grace).removed
    commit_later(directory)
    return removed + collect(directory, **grace).removed


def remaining(directory):
    return {folder: len(directory.list(folder)) for folder in ("segments", "tombstones", "pins")}


def test_all_that_is_left(directory):
    assert generations(directory) == [1, 2, 3, 4, 5, 6]
    assert remaining(directory) == {"segments": 4, "tombstones": 1, "pins": 0}
    before = sum(p.stat().st_size for p in directory.path.rglob("*") if p.is_file())
    report = collect(directory, superseded_seconds=0)
    after = sum(p.stat().st_size for p in directory.path.rglob("*") if p.is_file())
    assert generations(directory) == [6] and report.oldest_generation == 6
    assert remaining(directory) == {"segments": 1, "tombstones": 0, "pins": 0}
    assert report.freed_bytes == before - after
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert set(contents(snapshot)) == {f"d{n}" for n in range(9)} - {"d0", "d4"}
    assert collect(directory, superseded_seconds=0).removed == []


def test_manifests_go_in_ascending_order_before_anything_else(directory):
    removed = collect(directory, superseded_seconds=0).removed
    assert removed[:5] == [manifest_name(n) for n in range(1, 6)]
    assert not any(name.startswith("manifest") for name in removed[5:])


def test_recent_generations_are_kept(directory):
    before = everything(directory)
    assert collect(directory).removed == []
    assert everything(directory) == before


@pytest.mark.parametrize("generation", [1, 2, 4, 5, 6])
def test_pins_keep_a_contiguous_suffix(directory, generation):
    write_pin(directory, generation)
    collect(directory, superseded_seconds=0, staged_seconds=0)
    assert generations(directory) == list(range(generation, 7))
    for number in generations(directory):
        older = LocalDirectory(directory.path)
        older.exists = lambda name: False
        older.list = lambda folder="", n=number: (
            [manifest_name(n)] if not folder else LocalDirectory.list(directory, folder)
        )
        with Reader(older) as reader:
            assert reader._current.manifest.generation == number
            for view in reader._current.segments:
                view.files.verify()


def test_old_pins_are_left_behind(directory):
    pin = write_pin(directory, 2)
    collect(directory, superseded_seconds=0, pin_seconds=0)
    assert generations(directory) == [6] and not directory.exists(pin)


def test_a_pin_on_a_generation_that_is_gone_stops_the_files(directory):
    """Its manifest is not there to tell what its reader needs."""
    directory.remove(manifest_name(1))
    directory.remove(manifest_name(2))
    write_pin(directory, 2)
    collect(directory, superseded_seconds=0, staged_seconds=0)
    assert remaining(directory)["segments"] == 4


def test_a_pin_that_appears_while_manifests_are_removed(directory):
    """A reader has read the manifest just before it went: its files stay for now."""

    class Late(LocalDirectory):
        def remove(self, name):
            if name == manifest_name(3):
                write_pin(directory, 3)
            super().remove(name)

    collect(Late(directory.path), superseded_seconds=0, staged_seconds=0)
    assert remaining(directory)["segments"] == 4


def test_staged_files_have_time(directory):
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=50)))
        with directory.create("tmp.0123") as file:
            file.write_at(0, b"half a manifest")
        collect(directory, superseded_seconds=0)
        assert directory.exists("tmp.0123")
        assert writer.commit(staged).generation == 7
    orphan = "segments/" + "0" * 32
    with directory.create(f"{orphan}/arrays.safetensors") as file:
        file.write_at(0, b"half a segment")
    collect(directory, superseded_seconds=0)
    assert directory.exists(orphan) and directory.exists("tmp.0123")
    commit_later(directory)
    collect(directory, superseded_seconds=0, staged_seconds=0)
    assert directory.exists(orphan) and not directory.exists("tmp.0123")
    commit_later(directory)
    collect(directory, superseded_seconds=0, staged_seconds=0)
    assert all(is_named(directory, id) for id in directory.list("segments"))


def test_staged_files_stay_until_a_manifest_was_written_after_them(directory):
    """A writer that sleeps between renewing and publishing still has its turn."""
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=50)))
        publish = LocalDirectory.publish

        def sleep(self, source, name):
            collect(directory, superseded_seconds=0, staged_seconds=0)
            publish(self, source, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalDirectory, "publish", sleep)
            assert writer.commit(staged).generation == 7
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert {"d50", "d51"} <= set(contents(snapshot))


def test_a_writer_that_sleeps_past_another_commit_loses_its_turn(directory):
    """What it was about to name is gone, and so is the generation that it wanted to make."""
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=50)))
        publish = LocalDirectory.publish

        def sleep(self, source, name):
            patch.undo()
            commit_later(directory)
            removed = collect_all(directory)
            assert f"segments/{staged.id}" in removed and source in removed
            publish(self, source, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalDirectory, "publish", sleep)
            with pytest.raises(StorageError, match="collected"):
                writer.commit(staged)
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        assert set(contents(snapshot)) == {f"d{n}" for n in range(9)} - {"d0", "d4"} | {"later"}


@pytest.mark.parametrize("at", ["before the mark", "after the mark"])
def test_a_writer_that_wakes_while_its_segment_is_condemned(directory, at):
    """Either it sees the mark, or the collection sees that the segment was renewed."""
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=50)))
        commit_later(directory)
        outcome = []

        def wake():
            try:
                outcome.append(writer.commit(staged).generation)
            except StorageError as error:
                outcome.append(str(error))

        class Interrupted(LocalDirectory):
            @contextmanager
            def create(self, name, *, durable=True):
                mine = "/condemned." in name and not outcome
                if mine and at == "before the mark":
                    wake()
                with super().create(name, durable=durable) as file:
                    yield file
                if mine and at == "after the mark":
                    wake()

        # Old by the collection's clock: a renewal makes it new.
        age = time.time() - directory.status(staged.held_file).changed_seconds
        collect(Interrupted(directory.path), superseded_seconds=0, staged_seconds=age / 2)
        marks = [n for n in directory.list(f"segments/{staged.id}") if n.startswith("condemned")]
        assert marks == []
    collect_all(directory)
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        found = set(contents(snapshot))
        for view in snapshot.segments:
            view.files.verify()
    if at == "before the mark":
        assert outcome == [8] and "d50" in found
    else:
        assert "collected" in outcome[0] and "d50" not in found
        assert staged.id not in directory.list("segments")


def test_a_collection_withdraws_no_mark_of_another(directory):
    """A writer wakes between their looks: one sees that it did, the other had looked before."""
    theirs = f"condemned.{'7' * 32}"
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=50)))
        commit_later(directory)
        age = time.time() - directory.status(staged.held_file).changed_seconds

        class Late(LocalDirectory):
            @contextmanager
            def create(self, name, *, durable=True):
                with super().create(name, durable=durable) as file:
                    yield file
                if "/condemned" in name:
                    (directory.path / "segments" / staged.id / theirs).touch()
                    directory.touch(staged.held_file)

        collect(Late(directory.path), superseded_seconds=0, staged_seconds=age / 2)
        assert theirs in directory.list(f"segments/{staged.id}")
        with pytest.raises(StorageError, match="collected"):
            writer.commit(staged)


def test_a_mark_of_a_dead_collection_keeps_nothing_for_ever(directory):
    orphan = "segments/" + "0" * 32
    for file in ("arrays.safetensors", f"condemned.{'7' * 32}"):
        with directory.create(f"{orphan}/{file}") as written:
            written.write_at(0, b"half a segment")
    commit_later(directory)
    assert orphan in collect_all(directory)


def test_a_sentence_of_another_collection_counts_for_all(directory):
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=50)))
        commit_later(directory)
        collect(directory, superseded_seconds=0, staged_seconds=0)
        assert directory.exists(f"segments/{staged.id}")
        commit_later(directory)
        collect(directory, superseded_seconds=0)
        assert not directory.exists(f"segments/{staged.id}")


def test_files_held_by_hand_are_renewed_before_they_are_named(directory):
    with Writer(directory) as writer:
        staged = writer.stage(make_batch(documents(2, first=50)))
        writer.hold(staged.held_file)
        commit_later(directory)
        collect(directory, superseded_seconds=0, staged_seconds=0)
        with pytest.raises(StorageError, match="collected"):
            writer.apply(lambda base: None, Outcome())
        writer.let_go(staged.held_file)
        assert writer.apply(lambda base: None, Outcome()) is None


def test_what_lies_in_the_inbox_of_applied_changes(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        floor = snapshot.manifest.applied_floor
    for name in (f"{floor:016d}", f"{floor:016d}.try1", f"{floor + 1:016d}", "notes", ".hidden"):
        (directory.path / "inbox" / name).write_bytes(b"content")
    synced = []

    class Watched(LocalDirectory):
        def sync_folder(self, folder=""):
            synced.append((folder, len(self.list("inbox"))))
            super().sync_folder(folder)

    collect(Watched(directory.path, durable=False))
    assert directory.list("inbox") == [".hidden", f"{floor + 1:016d}", "notes"]
    # The manifest that applied them was made durable before.
    assert synced == [("", 5)]


def test_writers_collect_now_and_then(tmp_path, monkeypatch):
    directory = new_index(tmp_path / "index")
    calls = []
    monkeypatch.setattr(writers, "collect", lambda d, **k: calls.append(k) or collect(d, **k))
    monkeypatch.setattr(writers, "COLLECT_EVERY", 3)
    with Writer(directory) as writer:
        for n in range(7):
            add(writer, documents(1, first=n))
    assert len(calls) == 2


def test_a_damaged_old_manifest_does_not_stop_collection(directory):
    path = directory.readable_path(manifest_name(2))
    path.write_bytes(b"damaged")
    collect(directory, superseded_seconds=0)
    assert generations(directory) == [6]


def test_no_index(tmp_path):
    with pytest.raises(IndexNotFoundError):
        collect(LocalDirectory(tmp_path))


def test_names_that_are_not_wefts(directory):
    named = {id for id in directory.list("segments") if is_named(directory, id)}
    dead = sorted(set(directory.list("segments")) - named)
    foreign = ["segments/.DS_Store", "pins/.hidden", "codec/.nfs0001", "tombstones/with space"]
    foreign += ["tmp.with space", f"segments/{dead[0]}/.nfs0002"]
    for name in foreign:
        (directory.path / name).touch()
    (directory.path / "segments" / dead[1] / "folder").mkdir()
    (directory.path / "segments" / dead[1] / "folder" / "file").touch()
    report = collect(directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0)
    assert generations(directory) == [6]
    assert f"segments/{dead[2]}" in report.removed
    assert not {f"segments/{id}" for id in dead[:2]} & set(report.removed)
    assert set(directory.list("segments")) == {*named, *dead[:2], ".DS_Store"}
    assert directory.list(f"segments/{dead[0]}") == [".nfs0002"]
    assert all((directory.path / name).exists() for name in foreign)
    (directory.path / "segments" / dead[0] / ".nfs0002").unlink()
    commit_later(directory)
    assert f"segments/{dead[0]}" in collect_all(directory)


def is_named(directory, segment_id):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return segment_id in {ref.id for ref in snapshot.manifest.segments}
