"""A disk that fails to read in passing: repair takes nothing away that can be read again."""

import errno

import pytest
from forgery import read_manifest, segment_folder
from storage_tools import add, contents, documents, new_index

from weft.engine.errors import StorageError
from weft.engine.storage.check import check
from weft.engine.storage.checking import blocks
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import generations, manifest_name
from weft.engine.storage.reader import Reader
from weft.engine.storage.repair import repair
from weft.engine.storage.writer import Writer

ALL = {f"d{n}" for n in range(9)}


class Failing(LocalDirectory):
    """Fails to read some files, the next so many times or for those calls that are told."""

    def __init__(self, path, is_bad, fails):
        super().__init__(path, durable=False)
        self.is_bad, self.fails, self.n_reads = is_bad, fails, 0

    def read(self, name, offset=0, length=None):
        if self.is_bad(name):
            self.n_reads += 1
            if self.fails(self.n_reads):
                raise StorageError(errno.EIO, "cannot read (Input/output error)", name)
        return super().read(name, offset, length)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(blocks, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def path(tmp_path):
    """Four generations: three flat segments of three documents each."""
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        for n in range(3):
            add(writer, documents(3, first=3 * n))
    return directory.path


def held(path):
    with Reader(LocalDirectory(path)) as reader, reader.snapshot() as snapshot:
        return set(contents(snapshot))


def names(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


@pytest.mark.parametrize("n_failures", range(1, 8))
def test_a_newest_manifest_is_not_gone_past(path, n_failures):
    newest, before = manifest_name(4), names(path)
    directory = Failing(path, lambda name: name == newest, lambda n: n <= n_failures)
    try:
        report = repair(directory)
    except StorageError as error:
        assert error.filename == newest and "copy the index" in str(error)
    else:
        assert not report.repaired
    assert names(path) == before and held(path) == ALL
    assert check(path).ok


def test_one_that_can_never_be_read(path):
    newest, before = manifest_name(4), names(path)
    with pytest.raises(StorageError, match=newest) as caught:
        repair(Failing(path, lambda name: name == newest, lambda n: True))
    assert caught.value.errno == errno.EIO and names(path) == before
    # What the error advises: a copy without the file is the generation before.
    (path / newest).unlink()
    assert held(path) == {f"d{n}" for n in range(6)}
    assert check(path).ok


def test_one_below_a_damaged_one(path, flip):
    """Two manifests fail, and only one of them is certain to be lost."""
    flip(path / manifest_name(4), 50)
    with pytest.raises(StorageError, match=manifest_name(3)):
        repair(Failing(path, lambda name: name == manifest_name(3), lambda n: True))
    assert generations(LocalDirectory(path)) == [1, 2, 3, 4]
    report = repair(path)
    assert report.generation == 5 and held(path) == {f"d{n}" for n in range(6)}


@pytest.mark.parametrize("file", ["arrays.safetensors", "passages.sqlite", "checksums.safetensors"])
@pytest.mark.parametrize("n_failures", [1, 2, 3])
def test_a_segment_that_can_be_read_again_stays(path, file, n_failures):
    chosen = f"segments/{segment_folder(path, 1).name}/{file}"
    directory = Failing(path, lambda name: name == chosen, lambda n: n <= n_failures)
    report = repair(directory)
    assert not report.repaired and report.generation == 4
    assert held(path) == ALL


def test_a_segment_that_can_never_be_read_goes(path):
    folder = segment_folder(path, 1).name
    directory = Failing(path, lambda name: f"{folder}/arrays" in name, lambda n: True)
    report = repair(directory)
    assert report.dropped_segments == (folder,)
    assert {damage.unreadable for damage in report.check.damage} == {True}
    assert held(path) == ALL - {"d3", "d4", "d5"}


def test_a_damaged_segment_goes_whatever_else_cannot_be_read(path, flip):
    folder = segment_folder(path, 1)
    flip(folder / "arrays.safetensors", 4500)
    passages = f"segments/{folder.name}/passages.sqlite"
    repair(Failing(path, lambda name: name == passages, lambda n: n <= 2))
    assert held(path) == ALL - {"d3", "d4", "d5"}


def test_a_disk_that_fails_now_and_then(path):
    """Each check fails, and each look after it succeeds: nothing is certain, nothing is done."""
    chosen = f"segments/{segment_folder(path, 1).name}/checksums.safetensors"
    directory = Failing(path, lambda name: name == chosen, lambda n: n % 2 == 1)
    with pytest.raises(StorageError, match="now and then"):
        repair(directory)
    assert generations(directory) == [1, 2, 3, 4] and held(path) == ALL


def test_tombstones_and_codecs_that_can_be_read_again(index):
    """The index with everything in it."""
    fields = read_manifest(index)
    for name in (
        f"tombstones/{fields['tombstones'][0]['id']}.safetensors",
        f"codec/{fields['codecs'][0]['id']}/codec.safetensors",
    ):
        directory = Failing(index, lambda found, name=name: found == name, lambda n: n == 1)
        assert not repair(directory).repaired and directory.n_reads > 1
    assert read_manifest(index) == fields
