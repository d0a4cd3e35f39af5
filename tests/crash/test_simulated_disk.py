"""What a simulated power loss may do to a disk, and what it must not."""

import errno
from random import Random

import pytest
from faults import Fault
from simulated_directory import Shelf, SimulatedDirectory
from simulated_disk import PowerLoss

from weft.engine.storage.directory import SyncFailedError

OLD, NEW = b"o" * 2048, b"n" * 2048


@pytest.fixture
def directory():
    return SimulatedDirectory()


def write(directory, name, data=NEW, **options):
    with directory.create(name, **options) as file:
        file.write_at(0, data)


def outcomes(directory, look, moment=None):
    """What is found after many power losses at one moment."""
    disk, shelf = directory.disk, Shelf()
    moment = len(disk) if moment is None else moment
    random = Random(0)
    losses = (PowerLoss(disk).at(moment, random) for _ in range(300))
    return [look(SimulatedDirectory(loss, shelf)) for loss in losses]


def test_what_was_synced_stays(directory):
    write(directory, "folder/file")
    directory.sync_folder("folder")
    directory.sync_folder()
    assert set(outcomes(directory, lambda found: found.read("folder/file"))) == {NEW}


def test_a_name_is_lost_without_the_fsync_of_its_folder(directory):
    directory.sync_folder("folder")
    write(directory, "folder/file")
    directory.sync_folder()
    assert set(outcomes(directory, lambda found: found.exists("folder/file"))) == {True, False}


def test_a_folder_is_lost_with_all_that_was_synced_in_it(directory):
    write(directory, "folder/file")
    directory.sync_folder("folder")
    seen = outcomes(directory, lambda found: (found.exists("folder"), found.exists("folder/file")))
    assert set(seen) == {(True, True), (False, False)}


def test_what_was_removed_may_come_back(directory):
    write(directory, "a")
    write(directory, "b")
    directory.sync_folder()
    directory.remove("a")
    directory.remove("b")
    seen = {tuple(names) for names in outcomes(directory, lambda found: found.list())}
    assert seen == {(), ("a",), ("b",), ("a", "b")}


def test_content_is_torn_at_sectors(directory):
    write(directory, "file", NEW, durable=False)
    directory.sync_folder()
    seen = set(outcomes(directory, lambda found: found.read("file")))
    sectors = {content[at : at + 512] for content in seen for at in range(0, 2048, 512)}
    assert sectors <= {NEW[:512], bytes(512), b""} and len(seen) > 8
    assert {len(content) for content in seen} >= {0, 2048}
    assert bytes(2048) in seen


def test_writes_are_reordered(directory):
    with directory.create("file", durable=False) as file:
        file.write_at(0, OLD)
        file.write_at(0, NEW)
    directory.sync_folder()
    seen = set(outcomes(directory, lambda found: found.read("file")))
    assert OLD in seen and NEW in seen
    assert any(b"o" in content and b"n" in content for content in seen)


def test_both_names_of_a_file_have_one_content(directory):
    write(directory, "tmp.1", durable=False)
    directory.publish("tmp.1", "name")
    directory.sync_folder()
    assert all(outcomes(directory, lambda found: found.read("tmp.1") == found.read("name")))


def test_a_later_fsync_does_not_cover_what_a_failed_one_lost(directory):
    write(directory, "file")
    # The first call of `sync_folder` is the look for the folder.
    directory.faults.arm(1, Fault(errno.EIO))
    with pytest.raises(SyncFailedError):
        directory.sync_folder()
    directory.faults.disarm()
    directory.sync_folder()
    assert set(outcomes(directory, lambda found: found.exists("file"))) == {True, False}
    directory.remove("file")
    directory.sync_folder()
    assert set(outcomes(directory, lambda found: found.exists("file"))) == {False}


def test_the_power_may_fail_at_any_moment(directory):
    write(directory, "file", OLD)
    directory.sync_folder()
    before = len(directory.disk)
    directory.remove("file")
    directory.sync_folder()
    assert set(outcomes(directory, lambda found: found.list(), before)[0]) == {"file"}
    assert outcomes(directory, lambda found: found.list())[0] == []
