"""Repair drops whole damaged segments, names what is lost, and leaves an index that works."""

import errno
import os

import numpy as np
import pytest
from forgery import forge_manifest, newest_manifest, read_manifest, segment_folder
from storage_tools import DyingDirectory, Killed, add, contents, document, documents

import weft
from weft.engine.errors import StorageError
from weft.engine.storage.check import check
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.reader import Reader
from weft.engine.storage.repair import repair
from weft.engine.storage.writer import Writer

OLD = {f"d{n}": document(f"d{n}") for n in range(60)}
REPLACED = {f"d{n}": document(f"d{n}", 1) for n in range(15)}
FLAT = {f"d{n}": document(f"d{n}") for n in range(1000, 1005)}
ALL = {**OLD, **REPLACED, **FLAT}
for gone in ("d15", "d16"):
    del ALL[gone]


def documents_of(index) -> dict:
    """What the index holds, each document held against the oracle."""
    with Reader(LocalDirectory(index)) as reader, reader.snapshot() as snapshot:
        return contents(snapshot)


def assert_works(index) -> None:
    """Checks clean, opens, searches and takes changes."""
    assert weft.check(index).ok
    present = documents_of(index)
    query = np.eye(8, dtype=np.float32)[:3]
    with weft.Index.open(index) as opened:
        assert len(opened.search(query, k=100)) == len(present)
        opened.add(ids=["new"], embeddings=[query])
        assert opened.search(query, k=1)[0].id == "new"
        opened.delete(["new"])
    with Writer(LocalDirectory(index, durable=False)) as writer:
        add(writer, [document("d3", 7)], replace=True)
        compact(writer)
    assert documents_of(index) == {**present, "d3": document("d3", 7)}
    assert weft.check(index).ok


def lost_ids(report) -> set[str]:
    return {id for part in report.lost for id in part.ids}


def test_a_sound_index_is_left_alone(index):
    before = sorted(path for path in index.rglob("*") if path.is_file())
    report = weft.repair(index)
    assert not report.repaired and report.generation == 6 and report.lost == ()
    assert sorted(path for path in index.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("file", ["arrays.safetensors", "passages.sqlite", "checksums.safetensors"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_segment_goes_whole(index, flip, file, number):
    path = segment_folder(index, number) / file
    flip(path, path.stat().st_size - 9)
    report = weft.repair(index)
    assert report.repaired and report.generation == 7
    assert report.dropped_segments == (path.parent.name,)
    held = [{id for id in OLD if id in ALL} - set(REPLACED), set(REPLACED), set(FLAT)][number]
    assert lost_ids(report) == held and report.n_lost == len(held)
    assert documents_of(index) == {id: d for id, d in ALL.items() if id not in held}
    assert_works(index)


def test_a_damaged_codec_takes_its_segments(index, flip):
    (path,) = index.glob("codec/*/*")
    flip(path, 4100)
    report = weft.repair(index)
    assert report.dropped_codecs == (path.parent.name,) and len(report.dropped_segments) == 2
    assert documents_of(index) == FLAT
    assert_works(index)


def test_all_segments_damaged(index, flip):
    for number in range(3):
        flip(segment_folder(index, number) / "arrays.safetensors", 4097)
    assert lost_ids(weft.repair(index)) == set(ALL)
    assert documents_of(index) == {}
    assert_works(index)


def test_lost_tombstones(index, flip):
    """Replaced rows stay dead, by their sequences; what was deleted is back."""
    for ref in read_manifest(index)["tombstones"]:
        flip(index / "tombstones" / f"{ref['id']}.safetensors", 4200)
    report = weft.repair(index)
    assert report.check.n_may_reappear == 2 and report.n_lost == 0
    assert documents_of(index) == {**OLD, **REPLACED, **FLAT}
    assert_works(index)


def test_documents_alive_twice(index):
    forge_manifest(index, lambda fields: fields.update(tombstones=[]))
    weft.repair(index)
    assert documents_of(index) == {**OLD, **REPLACED, **FLAT}
    assert_works(index)


def test_a_damaged_newest_manifest_is_succeeded_by_the_one_before(index, flip):
    flip(newest_manifest(index), 100)
    with pytest.raises(weft.errors.CorruptIndexError):
        weft.Index.open(index)
    report = weft.repair(index)
    assert report.generation == 7 and report.aside == ("manifest.0000000000000006.json",)
    # The deletion was the last commit.
    assert documents_of(index) == {**OLD, **REPLACED, **FLAT}
    assert_works(index)


def test_collection_leaves_what_a_repair_goes_by(index, flip):
    flip(newest_manifest(index), 100)
    with pytest.raises(weft.errors.CorruptIndexError):
        collect(LocalDirectory(index), superseded_seconds=0, staged_seconds=0)
    assert len(list(index.glob("manifest.*"))) == 6
    weft.repair(index)
    collect(LocalDirectory(index), superseded_seconds=0, staged_seconds=0)
    assert documents_of(index) == {**OLD, **REPLACED, **FLAT}


def test_damaged_older_manifests_are_set_aside_without_a_commit(index, flip):
    flip(index / "manifest.0000000000000002.json", 5)
    before = sorted(index.glob("manifest.*"))
    report = weft.repair(index)
    assert report.repaired and report.generation == 6
    assert report.aside == ("manifest.0000000000000002.json",)
    assert sorted(index.glob("manifest.*")) == before
    found = weft.check(index)
    assert found.ok and "manifest.0000000000000002.json is damaged" in found.notes[0]
    assert not weft.repair(index).repaired
    assert documents_of(index) == ALL
    collect(LocalDirectory(index), superseded_seconds=0)
    assert [path.name for path in index.glob("[md]a*.0*")] == ["manifest.0000000000000006.json"]
    assert_works(index)


class WithoutPins(LocalDirectory):
    """A reader's read-only mount."""

    def create(self, name, *, durable=True):
        raise StorageError(errno.EROFS, "cannot create (Read-only file system)", name)


@pytest.mark.parametrize("generation", [4, 5])
def test_a_reader_without_a_pin_has_its_hour(index, flip, generation):
    """Its own generation is damaged, or one that was superseded before."""
    for path in index.rglob("*"):
        # All is older than what is kept for those who staged it.
        os.utime(path, (1, 1))
    with Reader(WithoutPins(index)) as reader, reader.snapshot() as snapshot:
        directory = LocalDirectory(index, durable=False)
        with Writer(directory) as writer:
            compact(writer)
            flip(index / f"manifest.{generation + 1:016d}.json", 50)
            weft.repair(index)
            assert weft.check(index).ok
            for n in range(3):
                add(writer, [document(f"later-{n}")])
                writer.collect()
        assert contents(snapshot) == ALL
        with Writer(directory) as writer:
            # The hour is over.
            writer.collect(superseded_seconds=0)
    assert weft.check(index).ok and not list(index.glob("damaged.*"))


def test_a_writer_that_wakes_finds_the_name_taken(index, flip):
    """It was about to give the name of the manifest that is damaged now."""

    class Sleepy(LocalDirectory):
        asleep = True

        def publish(self, source, name):
            if self.asleep:
                self.asleep = False
                with Writer(LocalDirectory(index, durable=False)) as other:
                    add(other, [document("lost")])
                flip(index / name, 50)
                weft.repair(index)
            super().publish(source, name)

    try:
        with Writer(Sleepy(index, durable=False)) as writer:
            add(writer, [document("acknowledged")])
    except weft.errors.WeftError:
        expected = ALL
    else:
        expected = {**ALL, "acknowledged": document("acknowledged")}
    assert documents_of(index) == expected
    assert weft.check(index).ok


def test_everything_at_once(index, flip):
    flip(newest_manifest(index), 100)
    flip(segment_folder_of(index, 5, 0) / "passages.sqlite", 4000)
    report = weft.repair(index)
    assert report.repaired and documents_of(index) == {**REPLACED, **FLAT}
    assert_works(index)


def segment_folder_of(index, generation: int, number: int):
    import json

    fields = json.loads((index / f"manifest.{generation:016d}.json").read_bytes())
    return index / "segments" / fields["segments"][number]["id"]


def test_other_writers_go_on(index, flip, monkeypatch):
    """A commit between the check and the repair's own is kept."""
    import weft.engine.storage.repair as module

    flip(segment_folder(index) / "passages.sqlite", 4000)
    directory = LocalDirectory(index, durable=False)
    original = module.publish
    rounds = []

    def publish(place, base, successor, outcome):
        if not rounds:
            forge = base.__class__(**{**fields_of(base), "generation": base.generation + 1})
            assert original(place, base, forge, outcome)
        rounds.append(successor.generation)
        return original(place, base, successor, outcome)

    monkeypatch.setattr(module, "publish", publish)
    report = repair(directory)
    assert rounds == [7, 8] and report.generation == 8
    assert documents_of(index) == {**REPLACED, **FLAT}


def fields_of(manifest) -> dict:
    return {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}


def test_repair_dies_at_every_call(built, tmp_path, flip):
    """Whatever the moment, the index is as damaged as before, or repaired."""
    import shutil

    n_calls = 0
    while True:
        index = tmp_path / str(n_calls)
        shutil.copytree(built, index)
        flip(segment_folder(index, 1) / "arrays.safetensors", 4500)
        for ref in read_manifest(index)["tombstones"]:
            flip(index / "tombstones" / f"{ref['id']}.safetensors", 4200)
        before = check(LocalDirectory(index))
        dying = DyingDirectory(LocalDirectory(index, durable=False), n_calls)
        try:
            repair(dying)
        except Killed:
            report = check(LocalDirectory(index))
            assert report.damage == before.damage or report.ok
        if not dying.dead:
            break
        repair(LocalDirectory(index, durable=False))
        assert documents_of(index) == {**OLD, **FLAT}
        shutil.rmtree(index)
        n_calls += 1
    assert n_calls > 5


def test_a_failed_fsync_is_told(index, flip, monkeypatch):
    from weft.engine.storage.directory import SyncFailedError

    flip(segment_folder(index, 1) / "arrays.safetensors", 4500)

    def fail(self, folder=""):
        raise SyncFailedError(5, "fsync failed", folder)

    monkeypatch.setattr(LocalDirectory, "sync_folder", fail)
    with pytest.raises(weft.errors.CommitUncertainError):
        weft.repair(index)


def test_late_writers_of_a_lost_codec(index, flip):
    """What was staged with the codec before it was lost cannot come in afterwards unread."""
    directory = LocalDirectory(index, durable=False)
    with Writer(directory) as writer:
        (path,) = index.glob("codec/*/*")
        flip(path, 4100)
        weft.repair(index)
        try:
            add(writer, documents(3, 2000))
        except weft.errors.WeftError:
            expected = FLAT
        else:
            expected = {**FLAT, **{d.id: d for d in documents(3, 2000)}}
    assert documents_of(index) == expected
    assert weft.check(index).ok
