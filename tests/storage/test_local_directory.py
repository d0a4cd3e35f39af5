"""What only a directory on a mounted file system has to show: which calls it makes."""

import errno
import os
from pathlib import Path

import pytest

from weft.engine.errors import StorageError
from weft.engine.storage.directory import LocalDirectory, SyncFailedError


@pytest.fixture
def directory(tmp_path):
    return LocalDirectory(tmp_path / "index")


def write(directory, name, data=b"content"):
    with directory.create(name) as file:
        file.write_at(0, data)


def test_a_file_where_the_root_should_be(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    directory = LocalDirectory(tmp_path / "file")
    assert directory.list() == [] and not directory.exists("name")
    with pytest.raises(FileNotFoundError):
        directory.read("name")
    with pytest.raises(StorageError):
        write(directory, "name")


def test_a_failed_fsync(directory, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SyncFailedError) as caught:
        write(directory, "file")
    assert caught.value.errno == errno.EIO
    assert directory.list() == []
    with pytest.raises(SyncFailedError):
        directory.sync_folder()
    with directory.create("pin", durable=False) as file:
        file.write_at(0, b"")
    write(LocalDirectory(directory.path, durable=False), "file")


def test_a_new_folder_is_synced_in_the_one_above(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink())
    )
    LocalDirectory(tmp_path / "a" / "b").sync_folder("c")
    expected = {tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"}
    assert expected == set(synced)
    monkeypatch.setattr(os, "fsync", real)


def test_refusals_keep_their_errno(directory, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(StorageError, match="cannot write") as caught:
        write(directory, "file")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageError, match="cannot publish"):
        directory.publish("a", "b")
    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(StorageError, match="cannot look up"):
        directory.exists("a")
