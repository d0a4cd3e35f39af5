"""Checksums by block: known values, and damage found exactly where it is touched."""

import numpy as np
import pytest

from weft.engine.errors import CorruptIndexError
from weft.engine.storage.checksums import (
    BLOCK_BYTES,
    CheckedFile,
    checksum,
    file_checksums,
    read_verified,
    verify_file,
)
from weft.engine.storage.directory import LocalDirectory


def write(directory, name, data):
    with directory.create(name) as file:
        file.write_at(0, data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (bytes([255]) * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_values_of_rfc_3720(data, expected):
    assert checksum(data) == expected


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(0, 256, 5 * BLOCK_BYTES + 123).astype(np.uint8)


def checked(data, damaged=None):
    """A file whose checksums are those of `data`, with a flipped bit at a byte."""
    tables = [
        checksum(data[i : i + BLOCK_BYTES].tobytes()) for i in range(0, len(data), BLOCK_BYTES)
    ]
    present = data.copy()
    if damaged is not None:
        present[damaged] ^= 16
    return CheckedFile("file", present, np.array(tables, dtype=np.uint32))


@pytest.mark.parametrize("block", range(6))
def test_damage_is_found_when_its_block_is_touched(data, block):
    at = min(block * BLOCK_BYTES + 77, len(data) - 1)
    for start, end in [(at, at + 1), (0, len(data)), (block * BLOCK_BYTES, at)]:
        with pytest.raises(CorruptIndexError, match=f"file.*offset {block * BLOCK_BYTES} "):
            checked(data, at).touch_range(start, end)


def test_other_blocks_can_be_read(data):
    file = checked(data, 2 * BLOCK_BYTES + 5)
    file.touch(np.array([0, 3 * BLOCK_BYTES]), np.array([2 * BLOCK_BYTES, len(data)]))
    assert not file.all_checked
    for _ in range(2):
        with pytest.raises(CorruptIndexError):
            file.touch(np.array([0]), np.array([len(data)]))


def test_touch_checks_exactly_the_blocks_of_its_ranges(data, monkeypatch):
    file = checked(data)
    seen = []
    import weft.engine.storage.checksums as module

    real = module.kernels.crc32c
    monkeypatch.setattr(
        module.kernels, "crc32c", lambda b, n: seen.append(-(-b.size // n)) or real(b, n)
    )
    random = np.random.default_rng(1)
    touched = set()
    for _ in range(20):
        starts = random.integers(0, len(data), 3)
        ends = np.minimum(starts + random.integers(0, 2 * BLOCK_BYTES, 3), len(data))
        wanted = {
            block
            for start, end in zip(starts, ends, strict=True)
            for block in range(6)
            if start < min((block + 1) * BLOCK_BYTES, len(data)) and end > block * BLOCK_BYTES
            if end > start
        }
        before = sum(seen)
        file.touch(starts, ends)
        assert sum(seen) - before >= len(wanted - touched)
        touched |= wanted
        assert sum(seen) <= 6
    file.touch_range(0, len(data))
    assert file.all_checked and sum(seen) == 6
    file.touch_range(0, len(data))
    assert sum(seen) == 6


def test_empty_ranges(data):
    file = checked(data, 5)
    file.touch(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    file.touch_range(len(data), len(data))


def test_whole_files(tmp_path, data):
    directory = LocalDirectory(tmp_path, durable=False)
    write(directory, "good", data.tobytes())
    table = file_checksums(directory, "good")
    assert len(table) == 6
    verify_file(directory, "good", len(data), table)
    bad = data.copy()
    bad[3 * BLOCK_BYTES] ^= 1
    for name, content in {
        "flipped": bad.tobytes(),
        "short": data[:-1].tobytes(),
        "long": data.tobytes() + b"x",
        "empty": b"",
        "blocks-missing": data[: 2 * BLOCK_BYTES].tobytes(),
    }.items():
        write(directory, name, content)
        with pytest.raises(CorruptIndexError, match=name):
            verify_file(directory, name, len(data), table)
    with pytest.raises(CorruptIndexError, match="checksums for"):
        verify_file(directory, "good", len(data), table[:-1])


def test_small_files(tmp_path):
    directory = LocalDirectory(tmp_path, durable=False)
    write(directory, "file", b"content")
    crc = checksum(b"content")
    assert read_verified(directory, "file", 7, crc) == b"content"
    for size, value in [(6, crc), (8, crc), (7, crc ^ 1)]:
        with pytest.raises(CorruptIndexError, match="file"):
            read_verified(directory, "file", size, value)
    with pytest.raises(CorruptIndexError, match="missing"):
        read_verified(directory, "none", 7, crc)


def test_sums_are_of_one_moment(data):
    """Another thread's check between two look-ups hides no block."""

    class Overtaken(CheckedFile):
        sums = ()

        @property
        def _before(self):
            return self.sums.pop(0) if len(self.sums) > 1 else self.sums[0]

        @_before.setter
        def _before(self, value):
            self.sums = [value]

    file = checked(data, 3 * BLOCK_BYTES)
    file.__class__ = Overtaken
    file._count_unchecked()
    earlier = file.sums[0]
    file.touch_range(0, 3 * BLOCK_BYTES)
    file.sums = [file.sums[0], earlier, file.sums[0], earlier]
    with pytest.raises(CorruptIndexError, match=f"offset {3 * BLOCK_BYTES} "):
        file.touch_range(3 * BLOCK_BYTES, 4 * BLOCK_BYTES)
