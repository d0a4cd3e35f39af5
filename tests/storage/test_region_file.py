"""New files are written in whole aligned regions, and read like any file meanwhile."""

import errno
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_tools import document

from weft.engine.errors import StorageError
from weft.engine.storage import region_file
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import segment_file
from weft.engine.storage.region_file import OPEN_REGIONS, REGION_BYTES, RegionFile
from weft.engine.storage.segment_writer import new_segment
from weft.engine.storage.tensors import TensorWriter

SMALL = 16
"""Bytes of a region where many are crossed with few bytes."""

CALLS = st.tuples(
    st.sampled_from(["write", "write", "write", "read", "write_out"]),
    st.integers(0, 9 * SMALL),
    st.integers(0, 4 * SMALL),
)
APPENDS = st.tuples(st.integers(0, 3), st.integers(0, 3 * SMALL))
REAL_PWRITE = os.pwrite


@pytest.fixture
def directory(tmp_path):
    return LocalDirectory(tmp_path / "index", durable=False)


@pytest.fixture
def writes(monkeypatch):
    """(offset, length) of each call of `os.pwrite`, by the name of the file."""
    seen = defaultdict(list)

    def pwrite(descriptor, data, offset):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen[path.name].append((offset, len(data)))
        return REAL_PWRITE(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    return seen


def content(n, seed=0):
    return np.random.default_rng(seed).bytes(n)


def refuse(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


class Oracle:
    """A bytearray that is written as the file is."""

    def __init__(self):
        self.data = bytearray()

    def write(self, offset, data):
        if data:
            self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
            self.data[offset : offset + len(data)] = data


@given(calls=st.lists(CALLS, max_size=40), bound=st.integers(0, 5), short=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_calls_in_any_order(calls, bound, short):
    """With regions of 16 bytes, and where asked for with a disk that takes 7 bytes a call."""
    oracle = Oracle()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as opened:
        patch.setattr(region_file, "REGION_BYTES", SMALL)
        if short:
            patch.setattr(os, "pwrite", lambda fd, data, at: REAL_PWRITE(fd, data[:7], at))
        file = RegionFile(opened.fileno(), bound)
        for n, (call, offset, length) in enumerate(calls):
            if call == "write":
                data = bytes((n + 1 + i) % 255 + 1 for i in range(length))
                file.write(offset, data)
                oracle.write(offset, data)
            else:
                file.write_out(offset, length)
                if call == "read":
                    assert file.read(offset, length) == oracle.data[offset : offset + length]
        file.write_out()
        assert os.pread(opened.fileno(), 1 << 16, 0) == oracle.data


@given(appends=st.lists(APPENDS, max_size=60), bound=st.integers(4, 8))
@settings(max_examples=200, deadline=None)
def test_tensors_that_grow_in_turn_are_written_region_by_region(appends, bound):
    """No region takes two calls, whatever the pieces, while enough of them are open."""
    seen, ends, oracle = [], [0, 200, 400, 600], Oracle()

    def pwrite(descriptor, data, offset):
        seen.extend(range(offset // SMALL, -(-(offset + len(data)) // SMALL)))
        return REAL_PWRITE(descriptor, data, offset)

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as opened:
        patch.setattr(region_file, "REGION_BYTES", SMALL)
        patch.setattr(os, "pwrite", pwrite)
        # Each tensor begins and ends within a region, and has no more than two open.
        file = RegionFile(opened.fileno(), 2 * bound)
        for tensor, length in appends:
            length = min(length, 200 * (tensor + 1) - ends[tensor])
            data = content(length, seed=tensor)
            file.write(ends[tensor], data)
            oracle.write(ends[tensor], data)
            ends[tensor] += length
        file.write_out()
        assert os.pread(opened.fileno(), 1 << 16, 0) == oracle.data
    assert len(seen) == len(set(seen))


def test_no_more_is_kept_than_so_many_regions():
    with tempfile.TemporaryFile() as opened:
        file = RegionFile(opened.fileno())
        for n in range(3 * OPEN_REGIONS):
            file.write(n * REGION_BYTES, b"x")
            there = os.fstat(opened.fileno()).st_size
            assert there == (max(0, n - OPEN_REGIONS) * REGION_BYTES + 1) * (n >= OPEN_REGIONS)
        file.write_out()
        assert os.fstat(opened.fileno()).st_size == (3 * OPEN_REGIONS - 1) * REGION_BYTES + 1


def test_a_small_file_is_one_write(directory, writes):
    with directory.create("file") as file:
        writer = TensorWriter(file)
        for name in "abc":
            writer.put(name, np.arange(1000))
        writer.finish()
    size_bytes = directory.status("file").size_bytes
    assert writes["file"] == [(0, size_bytes)] and size_bytes > 3 * 8000


def test_whole_regions_of_a_large_put_go_together(directory, writes):
    data = content(6 * REGION_BYTES)
    with directory.create("file") as file:
        file.write_at(0, data[:100])
        file.write_at(100, data[100:])
    first, middle = (0, REGION_BYTES), (REGION_BYTES, 5 * REGION_BYTES)
    assert writes["file"] == [first, middle]
    assert directory.read("file") == data


def test_the_file_of_a_large_segment_is_written_by_whole_regions(directory, writes):
    dim, rows, pieces = 1024, 100, 50
    random = np.random.default_rng(0)
    parts = [random.standard_normal((rows, dim)).astype(np.float16) for _ in range(pieces)]
    spans = np.array([[0, 1]], dtype=np.int64)
    with new_segment(directory, dim=dim, n_tokens=rows * pieces, live=None) as segment:
        for n, part in enumerate(parts):
            segment.append_embeddings(part)
            segment.append_documents([document(f"d{n}")])
            doclens = np.array([rows], dtype=np.uint32)
            segment.append_passages(np.array([n]), np.array([0]), spans, doclens)
    name = segment_file(segment.ref.id, "arrays.safetensors")
    assert_whole(writes["arrays.safetensors"], directory.status(name).size_bytes)
    embeddings = directory.map(name)[4096:][: 2 * dim * rows * pieces].view(np.float16)
    assert np.array_equal(embeddings.reshape(-1, dim), np.concatenate(parts))


def test_tensors_that_are_read_back_before_the_header(directory, writes):
    """As codes are for the inverted lists: their first region goes out without the header."""
    n, step = 200_000, 7_000
    with directory.create("file") as file:
        writer = TensorWriter(file)
        codes = writer.reserve("codes", np.uint16, (n,))
        residuals = writer.reserve("residuals", np.uint8, (n, 32))
        for start in range(0, n, step):
            part = np.arange(start, min(n, start + step))
            codes.append(part % 65521)
            residuals.append(np.repeat(part[:, None] % 251, 32, axis=1))
        assert np.array_equal(codes.read(0, n), np.arange(n) % 65521)
        writer.finish()
    writes["file"].remove((0, 4096))
    assert_whole(writes["file"], directory.status("file").size_bytes)


def assert_whole(writes, size_bytes):
    """Each region once, by writes that begin at a region and end at one, or with the file."""
    assert size_bytes > 3 * REGION_BYTES
    covered = []
    for offset, length in writes:
        end = offset + length
        assert offset % REGION_BYTES == 0 and (end % REGION_BYTES == 0 or end == size_bytes)
        covered += range(offset, end, REGION_BYTES)
    assert sorted(covered) == list(range(0, size_bytes, REGION_BYTES))


def test_a_disk_that_fills_up_with_the_last_write(directory, monkeypatch):
    """What was given is only written when the context ends: the error comes from there."""
    refused = pytest.raises(StorageError, match="cannot write")
    with refused as caught, directory.create("folder/file") as file:
        file.write_at(0, b"content")
        monkeypatch.setattr(os, "pwrite", refuse)
    assert caught.value.errno == errno.ENOSPC and "folder/file" in str(caught.value)
    assert directory.list("folder") == []


def test_a_disk_that_fills_up_while_reading_back(directory, monkeypatch):
    with pytest.raises(StorageError, match="cannot write"), directory.create("file") as file:
        file.write_at(0, b"content")
        monkeypatch.setattr(os, "pwrite", refuse)
        file.read_at(0, 3)
    assert directory.list() == []


def test_a_region_that_was_refused_is_not_lost(directory, monkeypatch):
    with directory.create("file") as file:
        file.write_at(0, b"content")
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", refuse)
            with pytest.raises(StorageError):
                file.write_at(7, bytes(REGION_BYTES - 7))
            with pytest.raises(StorageError):
                file.read_at(0, 7)
        assert file.read_at(0, 8) == b"content\0"
    assert directory.read("file") == b"content".ljust(REGION_BYTES, b"\0")


def test_the_last_write_comes_before_the_fsync(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(os.fstat(fd).st_size))
    with LocalDirectory(tmp_path).create("file") as file:
        file.write_at(3, b"content")
    assert calls == [10]


def test_a_mark_has_its_content_at_once(directory):
    with pytest.raises(KeyboardInterrupt), directory.create("mark", durable=False) as file:
        file.write_at(0, b"owner")
        assert directory.read("mark") == b"owner"
        raise KeyboardInterrupt
    assert directory.read("mark") == b"owner"
