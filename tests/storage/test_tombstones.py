"""Tombstone files: round trips, merging, damage."""

from dataclasses import replace

import numpy as np
import pytest

from weft.engine.errors import CorruptIndexError
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.files import write_tensors
from weft.engine.storage.layout import new_identifier, tombstone_file
from weft.engine.storage.manifest import TombstoneRef
from weft.engine.storage.tombstones import (
    MAX_FILES,
    Tombstones,
    alive_documents,
    merge_tombstones,
    mergeable_tail,
    read_tombstones,
)

A, B = new_identifier(), new_identifier()


def rows(**parts):
    return {key: np.array(value, dtype=np.uint32) for key, value in parts.items()}


def plain(tombstones):
    return dict(tombstones.ids), {k: v.tolist() for k, v in tombstones.rows.items()}


@pytest.fixture
def directory(tmp_path):
    return LocalDirectory(tmp_path, durable=False)


@pytest.mark.parametrize(
    "tombstones",
    [
        Tombstones(),
        Tombstones({"é": 3, "x" * 512: 2**60}, {A: np.array([1, 5], np.uint32)}),
        Tombstones({}, {A: np.array([0], np.uint32), B: np.array([7, 9, 11], np.uint32)}),
    ],
)
def test_round_trip(directory, tombstones):
    ref = tombstones.write(directory)
    assert (ref.n_ids, ref.n_rows) == (len(tombstones.ids), tombstones.n_rows)
    assert plain(read_tombstones(directory, ref)) == plain(tombstones)


def test_merging():
    merged = merge_tombstones(
        [
            Tombstones({"a": 1, "b": 2}, rows(x=[3, 5], gone=[1])),
            Tombstones({"a": 7}, rows(x=[4, 5], y=[0])),
        ],
        segments={"x", "y"},
        applied_floor=1,
    )
    assert plain(merged) == ({"a": 7, "b": 2}, {"x": [3, 4, 5], "y": [0]})
    assert not merge_tombstones([merged], segments=set(), applied_floor=9)


def test_files_are_merged_before_they_pile_up_and_each_row_rarely():
    counts, written = [], 0
    for _ in range(2000):
        tail = mergeable_tail(counts, 10)
        merged = 10 + sum(counts[len(counts) - tail :])
        counts = [*counts[: len(counts) - tail], merged]
        written += merged
        assert len(counts) <= MAX_FILES
    assert sum(counts) == 20_000 and written < 20_000 * 30


def test_bitmaps():
    dead = [np.array([1, 3], np.uint32), np.array([3], np.uint32), np.array([], np.uint32)]
    assert alive_documents(5, dead, "file").tolist() == [True, False, True, False, True]
    with pytest.raises(CorruptIndexError, match="document 5"):
        alive_documents(5, [np.array([5], np.uint32)], "file")


def test_every_flipped_byte_is_found(directory):
    ref = Tombstones({"a": 1}, {A: np.array([2], np.uint32)}).write(directory)
    path = directory.readable_path(tombstone_file(ref.id))
    data = path.read_bytes()
    for position in range(0, len(data), 29):
        bad = bytearray(data)
        bad[position] ^= 1
        path.write_bytes(bytes(bad))
        with pytest.raises(CorruptIndexError, match=ref.id):
            read_tombstones(directory, ref)
    path.unlink()
    with pytest.raises(CorruptIndexError, match="missing"):
        read_tombstones(directory, ref)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id_offsets", np.array([0, 9], np.int64)),
        ("id_offsets", np.array([1, 1], np.int64)),
        ("id_offsets", np.array([0], np.int64)),
        ("id_bytes", np.array([255], np.uint8)),
        ("id_sequences", np.array([1], np.int64)),
        ("row_counts", np.array([2], np.uint32)),
        ("row_counts", np.array([1, 0], np.uint32)),
        ("row_segments", np.zeros((1, 15), np.uint8)),
        ("row_docnos", np.array([2], np.uint64)),
    ],
)
def test_parts_that_do_not_fit(directory, key, value):
    tensors = Tombstones({"a": 1}, {A: np.array([2], np.uint32)})._tensors()
    ref = TombstoneRef(new_identifier(), 1, 1, None)
    file = write_tensors(directory, tombstone_file(ref.id), {**tensors, key: value})
    with pytest.raises(CorruptIndexError, match=ref.id):
        read_tombstones(directory, replace(ref, file=file))
