"""What `check` finds, and that it finds all of it without opening or changing the index."""

import json
from pathlib import Path

import pytest
from check_samples import build_large
from forgery import (
    forge_file,
    forge_manifest,
    newest_manifest,
    read_manifest,
    segment_folder,
)

import weft
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.manifest import encode_payload

ARRAYS, PASSAGES, CHECKSUMS = "arrays.safetensors", "passages.sqlite", "checksums.safetensors"


def files_of(report) -> set[str]:
    return {damage.file for damage in report.damage}


def name_of(index: Path, path: Path) -> str:
    return str(path.relative_to(index))


def test_a_sound_index(index):
    report = weft.check(index)
    assert report.ok and report.damage == () and report.lost == () and report.n_lost == 0
    assert report.generation == report.newest_generation == 6
    manifest = read_manifest(index)
    named = [index / "codec" / manifest["codecs"][0]["id"] / "codec.safetensors"]
    named += [index / "tombstones" / f"{t['id']}.safetensors" for t in manifest["tombstones"]]
    named += [p for s in manifest["segments"] for p in (index / "segments" / s["id"]).iterdir()]
    assert report.n_files == len(named) + 6
    assert report.checked_bytes == sum(path.stat().st_size for path in named)
    assert sorted(s["kind"] for s in manifest["segments"]) == ["coded", "coded", "flat"]


def test_an_empty_index_and_none(tmp_path):
    weft.Index.create(tmp_path / "empty", dim=8).close()
    assert weft.check(tmp_path / "empty").ok
    with pytest.raises(weft.errors.IndexNotFoundError):
        weft.check(tmp_path / "nothing")


def test_an_open_index_checks_itself(index, flip):
    with weft.Index.open(index) as opened:
        assert opened.check().ok
        flip(segment_folder(index) / PASSAGES, 5000)
        assert files_of(opened.check()) == {name_of(index, segment_folder(index) / PASSAGES)}


@pytest.mark.parametrize("file", [ARRAYS, PASSAGES, CHECKSUMS])
def test_damage_in_each_file_of_a_segment(index, flip, file):
    path = segment_folder(index) / file
    flip(path, path.stat().st_size // 2)
    report = weft.check(index)
    assert files_of(report) == {name_of(index, path)}
    (lost,) = report.lost
    # Of its 60 documents 15 were replaced and two deleted.
    alive = {f"d{n}" for n in range(17, 60)}
    assert set(lost.ids) == alive and lost.n_unnamed == 0 and report.n_lost == len(alive)


@pytest.mark.parametrize("file", [ARRAYS, PASSAGES, CHECKSUMS])
@pytest.mark.parametrize("damage", ["missing", "empty", "short", "long"])
def test_files_that_are_missing_or_of_another_length(index, file, damage):
    path = segment_folder(index, 1) / file
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "short": data[:-1], "long": data + b"\0"}[damage])
    report = weft.check(index)
    assert files_of(report) == {name_of(index, path)}
    assert set(report.lost[0].ids) == {f"d{n}" for n in range(15)}


def test_all_damage_is_told(index, flip):
    """One flip in every file: nothing stops the check from going on."""
    manifest = read_manifest(index)
    paths = [p for s in manifest["segments"] for p in (index / "segments" / s["id"]).iterdir()]
    paths += [*index.glob("codec/*/*"), *index.glob("manifest.*")]
    named = {f"{t['id']}.safetensors" for t in manifest["tombstones"]}
    paths += [index / "tombstones" / name for name in named]
    paths.remove(newest_manifest(index))
    for path in paths:
        flip(path, path.stat().st_size // 3)
    report = weft.check(index)
    expected = {name_of(index, path) for path in paths}
    # A file whose checksums are damaged cannot be told from a sound one of the same length.
    unknown = {name for name in expected if name.startswith("segments") and CHECKSUMS not in name}
    assert files_of(report) | unknown == expected
    # Nobody knows any more which of the 80 rows were deleted or replaced.
    assert 65 <= report.n_lost <= 80


def test_offsets_tell_the_block(tmp_path, flip):
    path = build_large(tmp_path / "index")
    arrays = segment_folder(path) / ARRAYS
    positions = [5, 3 * 65536 + 7, 4 * 65536 + 1, 9 * 65536]
    for position in positions:
        flip(arrays, position)
    report = weft.check(path)
    found = [(d.offset, d.size_bytes) for d in report.damage]
    assert found == [(0, 65536), (3 * 65536, 2 * 65536), (9 * 65536, 65536)]


def test_names_survive_where_either_source_does(index, flip):
    """Arrays damaged within the ids, SQLite elsewhere: the ids' hashes tell which names count."""
    folder = segment_folder(index)
    data = (folder / ARRAYS).read_bytes()
    flip(folder / ARRAYS, data.index(b"d0d1d2") + 40)
    flip(folder / PASSAGES, 9 * 4096 + 100)
    flip(folder / CHECKSUMS, 4097)
    (lost,) = weft.check(index).lost
    assert set(lost.ids) <= {f"d{n}" for n in range(17, 60)}
    assert lost.n_documents == 43 and lost.n_unnamed <= 1


def test_names_that_nothing_holds_are_counted(index):
    folder = segment_folder(index)
    for file in (ARRAYS, PASSAGES):
        (folder / file).write_bytes(b"")
    (lost,) = weft.check(index).lost
    assert lost.ids == () and lost.n_unnamed == 43


def test_a_damaged_codec_takes_its_segments_along(index, flip):
    (path,) = index.glob("codec/*/*")
    flip(path, 200)
    report = weft.check(index)
    assert files_of(report) == {name_of(index, path)}
    assert {id for part in report.lost for id in part.ids} == (
        {f"d{n}" for n in range(60)} - {"d15", "d16"}
    )
    assert {part.cause for part in report.lost} == {name_of(index, path)}


def test_damaged_tombstones_tell_how_many_may_reappear(index, flip):
    refs = read_manifest(index)["tombstones"]
    for ref in refs:
        flip(index / "tombstones" / f"{ref['id']}.safetensors", 4200)
    report = weft.check(index)
    assert files_of(report) == {f"tombstones/{ref['id']}.safetensors" for ref in refs}
    # The sequences tell which rows were replaced; only the two that were deleted are not known.
    assert report.n_may_reappear == 2


def test_a_damaged_newest_manifest(index, flip):
    flip(newest_manifest(index), 100)
    report = weft.check(index)
    assert (report.generation, report.newest_generation) == (5, 6)
    (damage,) = report.damage
    assert damage.file == newest_manifest(index).name and "generation 5" in damage.loses


def test_an_older_manifest_that_is_damaged_or_missing(index, flip):
    flip(index / "manifest.0000000000000003.json", 10)
    (index / "manifest.0000000000000004.json").unlink()
    report = weft.check(index)
    assert report.generation == 6 and report.n_lost == 0
    assert [(d.file[-6], d.offset) for d in report.damage] == [("3", None)]
    assert report.notes[0].startswith("1 generations between")


def test_a_manifest_far_below_is_no_damage(index):
    """What a writer leaves that slept through a collection; and no list is made of the gap."""
    (index / "manifest.0000000000000006.json").rename(index / "kept")
    fields = json.loads((index / "kept").read_bytes())
    del fields["crc32c"]
    fields["generation"] = 10**14
    (index / f"manifest.{10**14:016d}.json").write_bytes(encode_payload(fields))
    (index / "kept").unlink()
    report = weft.check(index)
    assert report.ok and report.generation == 10**14


def test_no_manifest_at_all_can_be_read(index):
    for path in index.glob("manifest.*"):
        path.write_bytes(b"{}")
    with pytest.raises(weft.errors.CorruptIndexError, match="no manifest can be read"):
        weft.check(index)


def test_notes_are_no_damage(index):
    (index / "segments" / ("0" * 32)).mkdir()
    (index / "notes.txt").write_text("mine")
    (index / "inbox" / "0000000000000099").touch()
    report = weft.check(index)
    assert report.ok and len(report.notes) == 3
    assert "notes.txt" in report.notes[2] and "inbox" in report.notes[1]


def test_tombstones_of_unknown_rows(index):
    forge_file(index, "tombstones", lambda t: t["row_docnos"].__setitem__(-1, 10**6))
    report = weft.check(index)
    assert {file.partition("/")[0] for file in files_of(report)} == {"tombstones"}


def test_documents_alive_twice(index):
    """Two sound segments that both hold d0..d14 alive: their tombstones were taken away."""
    forge_manifest(index, lambda fields: fields.update(tombstones=[]))
    report = weft.check(index)
    assert len(report.damage) == 15 and report.n_lost == 0
    assert all("alive more than once" in damage.problem for damage in report.damage)


def test_duplicates_are_found_in_any_range_of_hashes(index, monkeypatch):
    import weft.engine.storage.checking.duplicates as module

    monkeypatch.setattr(module, "IDS_AT_A_TIME", 7)
    forge_manifest(index, lambda fields: fields.update(tombstones=[]))
    assert len(weft.check(index).damage) == 15


def test_a_newer_format_is_refused_as_such(index):
    forge_manifest(index, lambda fields: fields.update(format_version=99))
    with pytest.raises(weft.errors.UnsupportedFormatError):
        weft.check(index)


def test_a_failing_medium_is_damage(index, monkeypatch):
    original = LocalDirectory.read

    def read(self, name, offset=0, length=None):
        if name.endswith(PASSAGES):
            raise weft.errors.StorageError(5, "Input/output error", name)
        return original(self, name, offset, length)

    monkeypatch.setattr(LocalDirectory, "read", read)
    report = weft.check(index)
    assert {damage.problem for damage in report.damage} == {"cannot be read from the disk"}
    assert len(report.damage) == 3


def test_a_refusing_disk_is_not_damage(index, monkeypatch):
    def read(self, name, offset=0, length=None):
        raise weft.errors.StorageError(13, "Permission denied", name)

    monkeypatch.setattr(LocalDirectory, "read", read)
    with pytest.raises(weft.errors.StorageError):
        weft.check(index)
