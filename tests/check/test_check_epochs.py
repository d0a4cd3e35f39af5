"""Check and repair of an index whose codec has grown and been trained anew."""

import shutil

import numpy as np
import pytest
from forgery import forge_manifest, read_manifest
from lineage_tools import batch_of, domain, fill, new_index, passages

import weft
from weft.engine.storage import holding, lineage
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.replacement import Replacement
from weft.engine.storage.writer import Writer


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Segments a and b of a prefix, c of the longer codec, d of the next epoch, one flat."""
    path = tmp_path_factory.mktemp("grown") / "index"
    with pytest.MonkeyPatch.context() as patch:
        # Or what drifts would wait for the codec that it is to have none of.
        patch.setattr(holding, "HELD_TOKENS", 0)
        grow(path)
    return path


def grow(path):
    directory = new_index(path, bits=4)
    store: dict = {}
    with Writer(directory) as writer:
        fill(writer, store, "flat", passages(domain(3), 5, 9))
        staged = writer.stage(batch_of(["late"], passages(domain(3), 1, 19)))
        fill(writer, store, "a", passages(domain(1), 100, 1))
        maintain(writer)
        fill(writer, store, "b", passages(domain(2), 60, 2))
        with writer.snapshot() as base, Replacement(writer, base) as work:
            lineage.append(work, seed=0)
            assert work.commit() is not None
        fill(writer, store, "c", passages(domain(2), 60, 3))
        with writer.snapshot() as base, Replacement(writer, base) as work:
            lineage.retrain(work, None, seed=0)
            assert work.commit() is not None
        fill(writer, store, "d", passages(domain(1), 60, 4))
        writer.commit(staged)


@pytest.fixture
def index(grown, tmp_path):
    return shutil.copytree(grown, tmp_path / "index")


def ids_of(index) -> set[str]:
    with weft.Index.open(index) as opened:
        query = np.ones((1, opened.stats().dim), dtype=np.float32)
        found = opened.search(query, k=1000)
        assert {hit.id for hit in found} == set(opened.ids())
        return set(opened.ids())


def codec_path(index, number: int):
    return index / "codec" / read_manifest(index)["codecs"][number]["id"] / "codec.safetensors"


def test_a_sound_lineage(index):
    manifest = read_manifest(index)
    assert len(manifest["codecs"]) == 2 and len(manifest["codecs"][0]["prefixes"]) == 1
    assert weft.check(index).ok


@pytest.mark.parametrize("number", [0, 1])
def test_one_epoch_is_lost_and_the_other_works_on(index, flip, number):
    everything = ids_of(index)
    flip(codec_path(index, number), 5000)
    report = weft.repair(index)
    lost = {id for part in report.lost for id in part.ids}
    newest = {id for id in everything if id.startswith("d")}
    older = {id for id in everything if id.startswith(("a", "b", "c", "flat"))}
    assert lost == (older, newest)[number]
    assert weft.check(index).ok and ids_of(index) == everything - lost
    with weft.Index.open(index) as opened:
        rows = np.eye(opened.stats().dim, dtype=np.float32)
        opened.add(ids=["new"], embeddings=[rows])
        opened.maintain()
        opened.compact()
    assert weft.check(index).ok and ids_of(index) == (everything - lost) | {"new"}


def test_a_prefix_that_is_none(index):
    forge_manifest(index, lambda m: m["codecs"][0]["prefixes"][0].update(hash="0" * 32))
    (damage,) = weft.check(index).damage
    assert "are not those of codec" in damage.problem and "3 segments" in damage.loses
