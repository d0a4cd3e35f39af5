"""Open files: their number does not grow with the segments, and running out is explained."""

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from storage_tools import add, contents, document, new_index

from weft.engine.errors import StorageError
from weft.engine.storage import connections
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.mapping import map_file
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

MANY_SEGMENTS = """
import resource, sys
from storage_tools import add, contents, document, new_index
from weft.engine.storage.compaction import compact
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

directory = new_index(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
expected = {f"d{n}": document(f"d{n}") for n in range(80)}
with Writer(directory) as writer:
    for doc in expected.values():
        add(writer, [doc])
    for compacted in (False, True):
        if compacted:
            assert compact(writer).segments_after == 1
        with Reader(directory) as reader, reader.snapshot() as snapshot:
            assert len(snapshot.segments) == (1 if compacted else 80)
            assert contents(snapshot) == expected
"""


def test_more_segments_than_descriptors(tmp_path):
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", MANY_SEGMENTS, str(tmp_path / "index")],
        env=os.environ | {"PYTHONPATH": str(support)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_few_connections_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(connections.Connections.__init__, "__defaults__", (2,))
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        for n in range(6):
            add(writer, [document(f"d{n}")])
    before = open_descriptors()
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        for _ in range(2):
            assert len(contents(snapshot)) == 6
            assert open_descriptors() == before + 2
    assert open_descriptors() == before


def test_mapped_memory_comes_and_goes(tmp_path):
    path = tmp_path / "file"
    content = np.arange(100_000, dtype=np.uint8)
    path.write_bytes(content.tobytes())
    mapped = LocalDirectory(tmp_path).map("file")
    path.unlink()
    part = mapped[5:]
    del mapped
    gc.collect()
    assert np.array_equal(part, content[5:])
    assert not part.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        part.flags.writeable = True
    assert str(path) in Path("/proc/self/maps").read_text()
    del part
    gc.collect()
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_what_cannot_be_mapped(tmp_path):
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        map_file(-1, 10)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_running_out_is_explained(tmp_path, monkeypatch, code):
    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=r"compact the index, or .*ulimit -n"):
        LocalDirectory(tmp_path).map("file")
