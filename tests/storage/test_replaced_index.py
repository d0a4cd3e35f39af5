"""An index that is removed and made anew under a process that has it open."""

import shutil

import pytest
from storage_tools import document, make_batch, new_index

import weft
from weft.engine.errors import IndexReplacedError
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


def made_again(path, generations):
    shutil.rmtree(path)
    directory = new_index(path)
    with Writer(directory) as writer:
        for number in range(generations):
            writer.commit(writer.stage(make_batch([document(f"new{number}")])))


@pytest.mark.parametrize("generations", [0, 1, 2, 3])
def test_a_writer_commits_nothing_into_another_index(tmp_path, generations):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        writer.commit(writer.stage(make_batch([document("old1")])))
        writer.commit(writer.stage(make_batch([document("old2")])))
        staged = writer.stage(make_batch([document("old3")]))
        made_again(directory.path, generations)
        with pytest.raises(IndexReplacedError):
            writer.commit(staged)
    with weft.Index.open(directory.path) as index:
        assert sorted(index.ids()) == [f"new{number}" for number in range(generations)]
        assert not weft.check(directory.path).damage


@pytest.mark.parametrize("generations", [1, 2, 3])
def test_a_reader_says_so(tmp_path, generations):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer, Reader(directory) as reader:
        writer.commit(writer.stage(make_batch([document("old1")])))
        writer.commit(writer.stage(make_batch([document("old2")])))
        reader.snapshot().close()
        made_again(directory.path, generations)
        with pytest.raises(IndexReplacedError, match="Open it again"):
            reader.snapshot()


def test_touching_a_copy_back_is_no_replacement(tmp_path):
    """The same manifest, written again by a restore of the same generation, goes on."""
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer, Reader(directory) as reader:
        writer.commit(writer.stage(make_batch([document("a")])))
        reader.snapshot().close()
        for path in directory.path.glob("manifest.*.json"):
            path.touch()
        with reader.snapshot() as base:
            assert base.generation == 2
        writer.commit(writer.stage(make_batch([document("b")])))
