"""The contract of a directory: one suite for the local one and the simulated one."""

import errno

import pytest
from simulated_directory import SimulatedDirectory

from weft.engine.errors import StorageError
from weft.engine.storage.directory import LocalDirectory


@pytest.fixture(params=["local", "simulated"])
def directory(request, tmp_path):
    if request.param == "local":
        return LocalDirectory(tmp_path / "index")
    return SimulatedDirectory()


def write(directory, name, data=b"content"):
    with directory.create(name) as file:
        file.write_at(0, data)


def test_create_read_status(directory):
    write(directory, "a/b/file", b"0123456789")
    assert directory.read("a/b/file") == b"0123456789"
    assert directory.read("a/b/file", 3, 4) == b"3456"
    assert directory.read("a/b/file", 8, 100) == b"89"
    assert directory.read("a/b/file", 100) == b""
    assert directory.status("a/b/file").size_bytes == 10
    assert bytes(directory.map("a/b/file")) == b"0123456789"
    assert directory.readable_path("a/b/file").read_bytes() == b"0123456789"


def test_a_file_is_created_once(directory):
    write(directory, "file", b"first")
    with pytest.raises(FileExistsError):
        write(directory, "file", b"second")
    with pytest.raises(FileExistsError), directory.create_by_path("file"):
        pass
    assert directory.read("file") == b"first"


def test_writing_at_offsets_and_reading_back(directory):
    with directory.create("file") as file:
        file.write_at(4, b"later")
        file.write_at(0, b"soon")
        assert file.read_at(2, 4) == b"onla"
        file.write_at(9, memoryview(b""))
    assert directory.read("file") == b"soonlater"


@pytest.mark.parametrize("by_path", [False, True])
def test_a_failed_write_leaves_nothing(directory, by_path):
    with pytest.raises(KeyError):
        if by_path:
            with directory.create_by_path("folder/file") as path:
                path.write_bytes(b"half")
                raise KeyError
        with directory.create("folder/file") as file:
            file.write_at(0, b"half")
            raise KeyError
    assert directory.list("folder") == []


def test_create_by_path(directory):
    with directory.create_by_path("folder/file") as path:
        path.write_bytes(b"by a library")
    assert directory.read("folder/file") == b"by a library"


def test_publish_is_atomic_and_once(directory):
    write(directory, "tmp.1", b"one")
    write(directory, "tmp.2", b"two")
    directory.publish("tmp.1", "name")
    with pytest.raises(FileExistsError):
        directory.publish("tmp.2", "name")
    with pytest.raises(FileNotFoundError):
        directory.publish("tmp.3", "other")
    directory.remove("tmp.1")
    assert directory.read("name") == b"one"


def test_list_exists_remove(directory):
    assert directory.list() == [] and directory.list("none") == []
    write(directory, "b")
    write(directory, "folder/c")
    write(directory, "a")
    assert directory.list() == ["a", "b", "folder"]
    assert directory.list("folder") == ["c"]
    assert directory.exists("a") and directory.exists("folder") and not directory.exists("a/x")
    directory.remove("folder/c")
    directory.remove("folder")
    assert directory.list() == ["a", "b"]
    with pytest.raises(FileNotFoundError):
        directory.remove("folder")


def test_missing_files(directory):
    for call in (directory.read, directory.map, directory.status, directory.touch):
        with pytest.raises(FileNotFoundError):
            call("none")
    directory.sync_folder("new")
    assert directory.list() == ["new"]


def test_memory_outlives_the_name(directory):
    write(directory, "file", b"x" * 100_000)
    data = directory.map("file")
    directory.remove("file")
    assert bytes(data) == b"x" * 100_000
    with pytest.raises(ValueError):
        data[0] = 1
    write(directory, "empty", b"")
    assert directory.map("empty").size == 0


def test_a_new_name_is_a_change_and_no_modification(directory):
    write(directory, "tmp.1")
    before = directory.status("tmp.1")
    while directory.clock_seconds() <= before.changed_seconds:
        pass
    directory.publish("tmp.1", "name")
    after = directory.status("name")
    assert after.changed_seconds > before.changed_seconds
    assert after.modified_seconds == before.modified_seconds
    directory.touch("name")
    assert directory.status("name").modified_seconds > before.modified_seconds
    assert directory.modified_seconds("name") == directory.status("name").modified_seconds
    assert directory.modified_seconds("other") is None


def test_touch_and_clock(directory):
    write(directory, "file")
    before = directory.status("file").changed_seconds
    while directory.clock_seconds() <= before:
        pass
    directory.touch("file")
    assert directory.status("file").changed_seconds > before
    assert directory.clock_seconds() >= directory.status("file").changed_seconds
    assert directory.list() == ["file"]


@pytest.mark.parametrize("name", ["../out", "/etc", "a/../b", "", ".", "a//b", "a\0b", ".hidden"])
def test_names_that_lead_out(directory, name):
    with pytest.raises(StorageError):
        directory.read(name)
    with pytest.raises(StorageError):
        write(directory, name)


def test_a_new_folder_comes_with_its_first_file(directory):
    with directory.create_by_path("a/b/file") as path:
        path.write_bytes(b"x")
    directory.sync_folder("a/b")
    assert directory.list() == ["a"] and directory.list("a") == ["b"]
    assert directory.status("a").size_bytes >= 0
    directory.remove("a/b/file")
    directory.remove("a/b")
    assert directory.list("a") == []


def test_a_folder_with_files_stays(directory):
    write(directory, "folder/file")
    with pytest.raises(StorageError) as caught:
        directory.remove("folder")
    assert caught.value.errno == errno.ENOTEMPTY
    assert directory.read("folder/file") == b"content"


def test_files_and_folders_are_not_mistaken(directory):
    write(directory, "file")
    for call in (directory.read, directory.map, directory.status):
        with pytest.raises(FileNotFoundError):
            call("file/below")
    assert directory.list("file") == [] and not directory.exists("file/below")
    assert directory.modified_seconds("file/below") is None
    directory.sync_folder("folder")
    with pytest.raises(StorageError):
        directory.read("folder")


def test_a_file_in_the_way_of_a_folder(directory):
    write(directory, "file")
    with pytest.raises(StorageError) as caught:
        write(directory, "file/below")
    assert caught.value.errno == errno.ENOTDIR
    with pytest.raises(StorageError) as caught, directory.create_by_path("file/below"):
        pass
    assert caught.value.errno == errno.ENOTDIR
    for folder in ("file", "file/below"):
        with pytest.raises(StorageError) as caught:
            directory.sync_folder(folder)
        assert caught.value.errno == errno.ENOTDIR


def test_a_mark_stays_whatever_happens(directory):
    """Others may have acted on it already."""
    with pytest.raises(KeyboardInterrupt), directory.create("claims/1", durable=False):
        raise KeyboardInterrupt
    assert directory.list("claims") == ["1"]


def test_an_empty_file_is_content_too(directory):
    with directory.create("claims/1", durable=False):
        pass
    with pytest.raises(FileExistsError), directory.create("claims/1", durable=False):
        pass
    assert directory.read("claims/1") == b""
    assert directory.status("claims/1").size_bytes == 0
