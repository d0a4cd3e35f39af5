"""Safetensors files: the library reads what we write, we read what it writes, nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from weft.engine.errors import CorruptIndexError
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.tensors import ALIGNMENT, TensorWriter, read_header

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


@st.composite
def tensor_sets(draw):
    shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)
    names = draw(st.lists(st.text("abcxyz", min_size=1), max_size=6, unique=True))
    return {name: filled(draw(shapes), draw(st.sampled_from(DTYPES))) for name in names}


def filled(shape, dtype):
    values = np.arange(int(np.prod(shape)), dtype=np.int64) * 37 % 251
    return values.astype(np.int8 if dtype == "i1" else dtype).reshape(shape).astype(dtype)


def written(tmp_path, tensors):
    directory = LocalDirectory(tmp_path, durable=False)
    with directory.create("file") as file:
        writer = TensorWriter(file)
        for name, tensor in tensors.items():
            writer.put(name, tensor)
        writer.finish()
    return directory.read("file")


def read(data):
    file = np.frombuffer(data, dtype=np.uint8)
    return {name: found.of(file) for name, found in read_header(file, "file").items()}


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert np.array_equal(found[name], tensor)


@given(tensors=tensor_sets())
@settings(max_examples=40, deadline=None)
def test_the_library_reads_our_files(tmp_path_factory, tensors):
    data = written(tmp_path_factory.mktemp("tensors"), tensors)
    by_library = {k: v for k, v in load(data).items() if not k.startswith("_padding.")}
    assert_equal(by_library, tensors)
    assert_equal(read(data), tensors)
    starts = [f.start for f in read_header(np.frombuffer(data, np.uint8), "file").values()]
    assert all(start % ALIGNMENT == 0 for start in starts)


@given(tensors=tensor_sets())
@settings(max_examples=40, deadline=None)
def test_we_read_the_librarys_files(tensors):
    assert_equal(read(save(tensors, metadata={"made": "elsewhere"})), tensors)


def test_slots_are_filled_in_chunks(tmp_path):
    directory = LocalDirectory(tmp_path, durable=False)
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    with directory.create("file") as file:
        writer = TensorWriter(file)
        first = writer.reserve("first", np.float16, (10, 3))
        second = writer.reserve("second", np.uint8, (5,))
        first.append(rows[:4])
        second.append(np.arange(5))
        first.append(rows[4:])
        assert np.array_equal(first.read(3, 6), rows[3:6].astype(np.float16))
        with pytest.raises(ValueError, match="beyond"):
            second.append(np.zeros(1))
        writer.finish()
    found = load(directory.read("file"))
    assert np.array_equal(found["first"], rows.astype(np.float16))
    assert np.array_equal(found["second"], np.arange(5, dtype=np.uint8))


def test_a_slot_must_be_filled(tmp_path):
    directory = LocalDirectory(tmp_path, durable=False)
    with pytest.raises(ValueError, match="not written whole"), directory.create("file") as file:
        writer = TensorWriter(file)
        writer.reserve("half", np.uint8, (5,)).append(np.zeros(4))
        writer.finish()
    assert directory.list() == []


def raw(header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def entry(dtype="U8", shape=(4,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        raw({"a": entry()}, b"1234", length=2**60),
        raw({"a": entry()}, b"1234", length=0),
        raw(b"{not json}"),
        raw(b"\xff\xfe{}"),
        raw(b"[" * 5000),
        raw([1, 2]),
        raw({"a": 1}),
        raw({"a": {}}),
        raw({"a": entry("Q4")}, b"1234"),
        raw({"a": entry("BOOL")}, b"1234"),
        raw({"a": entry(shape=(5,))}, b"1234"),
        raw({"a": entry(shape=(-4,), offsets=(0, -4))}, b"1234"),
        raw({"a": entry(shape=("4",))}, b"1234"),
        raw({"a": entry(shape=(4.0,))}, b"1234"),
        raw({"a": entry(shape=(True,), offsets=(0, 1))}, b"1"),
        raw({"a": entry(shape=(2**40, 2**40, 0), offsets=(0, 0))}, b"1"),
        raw({"a": entry(shape=[1] * 9, offsets=(0, 1))}, b"1"),
        raw({"a": entry(offsets=(0, 4, 4))}, b"1234"),
        raw({"a": entry(offsets=(4, 0))}, b"1234"),
        raw({"a": entry(offsets=(1, 5))}, b"12345"),
        raw({"a": entry()}, b"123"),
        raw({"a": entry()}, b"12345"),
        raw({"a": entry(), "b": entry(offsets=(2, 6))}, b"123456"),
        raw({"a": entry(), "b": entry(offsets=(5, 9))}, b"123456789"),
        raw({"a": entry(), "b": entry()}, b"1234"),
    ],
)
def test_hostile_headers(data):
    with pytest.raises(CorruptIndexError, match="file"):
        read(data)


@given(data=st.binary(max_size=200), header=st.recursive(st.integers() | st.text(), st.lists))
@settings(max_examples=100, deadline=None)
def test_noise_is_refused(data, header):
    for noise in (data, raw({"a": header}, data), raw({"a": {"dtype": "U8", "shape": header}})):
        with pytest.raises(CorruptIndexError):
            read(noise)
