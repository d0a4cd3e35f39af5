"""What was staged and never named is removed, whatever clocks, disks and other collections do."""

import errno
import os
import time

import pytest
from storage_tools import add, contents, document, documents, make_batch, new_index
from turns import StepwiseDirectory, interleave

from weft.engine.errors import StorageError, WeftError
from weft.engine.storage.check import check
from weft.engine.storage.collection import collect
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations, manifest_name
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

AT_ONCE = {"superseded_seconds": 0, "staged_seconds": 0}


@pytest.fixture
def directory(tmp_path):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        for n in range(3):
            add(writer, documents(3, first=3 * n))
    return directory


def held(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return set(contents(snapshot))


def commit(directory, id="later"):
    with Writer(directory) as other:
        add(other, [document(id)], replace=True)


def step_back(directory, seconds):
    """Let the file server's clock have stepped back since anything was written."""
    for path in [directory.path, *directory.path.rglob("*")]:
        time_then = path.stat().st_mtime + seconds
        os.utime(path, (time_then, time_then))


class Sleepy(LocalDirectory):
    """Sleeps before it gives a manifest its name."""

    def __init__(self, path, meanwhile):
        super().__init__(path, durable=False)
        self.meanwhile = meanwhile

    def publish(self, source, name):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        if name.startswith("manifest."):
            meanwhile()
        super().publish(source, name)


class Blind(LocalDirectory):
    """Does not show temporary files, without which a writer would merely start again."""

    def list(self, folder=""):
        return [name for name in super().list(folder) if not name.startswith("tmp.")]


@pytest.mark.parametrize("seconds", [-7 * 86400, 7 * 86400])
@pytest.mark.parametrize("others", [0, 2])
def test_a_clock_that_stepped(directory, seconds, others):
    """The writer has renewed what it names by a clock that is behind that of the manifest."""

    def meanwhile():
        for n in range(3):
            collect(Blind(directory.path), **AT_ONCE)
            if n < others:
                commit(directory)

    sleepy = Sleepy(directory.path, meanwhile)
    with Writer(sleepy) as writer:
        step_back(directory, seconds)
        staged = writer.stage(make_batch([document("mine")]))
        try:
            writer.commit(staged, delete=["d1"])
        except WeftError:
            assert others
            committed = False
        else:
            committed = True
    assert check(directory).ok
    assert ("mine" in held(directory)) == committed == ("d1" not in held(directory))


def test_a_tombstone_file_that_nobody_named(directory):
    """It goes behind two commits, its sentence with it."""
    orphan = f"tombstones/{'0' * 32}.safetensors"
    with directory.create(orphan) as file:
        file.write_at(0, b"half a file")
    commit(directory)
    collect(directory, **AT_ONCE)
    collect(directory, **AT_ONCE)
    assert directory.exists(orphan)
    commit(directory)
    assert orphan in collect(directory, superseded_seconds=0).removed
    assert not [name for name in directory.list("tombstones") if "condemned" in name]


def test_many_tombstone_files_are_listed_together(directory):
    """Not once for each of them."""
    listed = []

    class Watched(LocalDirectory):
        def list(self, folder=""):
            listed.append(folder)
            return super().list(folder)

    for n in range(20):
        with directory.create(f"tombstones/{n:032d}.safetensors") as file:
            file.write_at(0, b"half a file")
    for n in range(2):
        commit(directory, f"later-{n}")
        listed.clear()
        collect(Watched(directory.path, durable=False), **AT_ONCE)
        assert listed.count("tombstones") < 6
    assert directory.list("tombstones") == []


class FullDirectory(LocalDirectory):
    """No file can be made."""

    def create(self, name, *, durable=True):
        raise StorageError(errno.ENOSPC, "cannot create (No space left on device)", name)

    def clock_seconds(self):
        raise StorageError(errno.ENOSPC, "cannot create (No space left on device)", "tmp.0")


def test_a_full_disk_is_freed_of_generations(directory):
    report = collect(FullDirectory(directory.path), superseded_seconds=0)
    assert generations(directory) == [4] and report.freed_bytes > 0


@pytest.mark.parametrize("file", ["segments/{}/arrays.safetensors", "tombstones/{}.safetensors"])
def test_a_full_disk_is_freed_of_what_was_left_behind(directory, file):
    name = file.format("0" * 32)
    with directory.create(name) as written:
        written.write_at(0, b"half of it")
    commit(directory)
    full = FullDirectory(directory.path, durable=False)
    collect(full, **AT_ONCE)
    commit(directory)
    collect(full, **AT_ONCE)
    assert not directory.exists(name)
    assert check(directory).ok


def test_a_plain_file_where_a_folder_belongs(directory):
    """It is not Weft's, and in nobody's way."""
    for name in ("segments/notes", f"segments/{'0' * 32}", f"codec/{'0' * 32}"):
        (directory.path / name).write_bytes(b"foreign")
    commit(directory)
    for _ in range(2):
        collect(directory, **AT_ONCE)
        commit(directory)
    assert (directory.path / "segments" / "notes").exists()
    assert check(directory).ok


@pytest.mark.parametrize("seed", [*range(25), 49, 183, 367])
def test_two_collections_and_a_writer_that_wakes(tmp_path, seed):
    """In whatever order their calls come, and however old everything looks."""
    setup = new_index(tmp_path / "index")
    with Writer(setup) as first:
        add(first, documents(2))
    places = [StepwiseDirectory(setup.path) for _ in range(4)]
    with Writer(places[0]) as writer, Writer(places[1]) as other:
        staged = writer.stage(make_batch(documents(2, first=50)))
        time.sleep(0.005)
        add(other, [document("between")])
        grace = {"superseded_seconds": 0, "staged_seconds": 0, "pin_seconds": 900 * (seed % 2)}
        outcomes = interleave(
            seed,
            [
                (places[0], lambda: writer.commit(staged, delete=["d0"])),
                (places[1], lambda: [add(other, [document(f"o{n}")]) for n in range(2)]),
                (places[2], lambda: [collect(places[2], **grace) for _ in range(3)]),
                (places[3], lambda: [collect(places[3], **grace) for _ in range(3)]),
            ],
        )
    assert not [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, WeftError)]
    report = check(setup)
    assert report.ok, report.damage
    committed = not isinstance(outcomes[0], WeftError)
    found = held(setup)
    assert {"d50", "d51"} <= found if committed else True
    assert ("d50" in found) == ("d51" in found) == ("d0" not in found)
    assert manifest_name(report.generation) in setup.list()
