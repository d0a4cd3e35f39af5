"""A document that stands twice in a segment: its older rows go, and not the segment."""

import numpy as np
import pytest
from forgery import forge_arrays, forge_sqlite
from storage_tools import document, make_batch, new_index

from weft.engine.storage.check import check
from weft.engine.storage.identifiers import id_tensors
from weft.engine.storage.reader import Reader
from weft.engine.storage.repair import repair
from weft.engine.storage.writer import Writer

IDS = ["a0", "b", "a1", "c", "a2"]
SEQUENCES = [5, 1, 6, 3, 4]
"""The middle one of the rows that are renamed to `a` is the youngest."""


@pytest.fixture(params=[False, True], ids=["alone", "beside another segment"])
def directory(tmp_path, request):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        docs = [document(id, n) for n, id in enumerate(IDS)]
        staged = writer.stage(make_batch(docs), sequences=np.array(SEQUENCES, dtype=np.uint64))
        writer.commit_queued(staged, completed=SEQUENCES)
        if request.param:
            writer.commit(writer.stage(make_batch([document("other")])))
    rename(directory.path)
    return directory


def rename(index):
    ids = ["a" if id.startswith("a") else id for id in IDS]
    forge_arrays(index, lambda tensors: tensors.update(id_tensors(ids)))
    forge_sqlite(index, "UPDATE documents SET id = 'a' WHERE id LIKE 'a%'")


def held(directory):
    """Texts of the living rows of the first segment by id, each id once."""
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        segment = snapshot.segments[0]
        alive = segment.alive_documents
        docnos = np.arange(5) if alive is None else np.flatnonzero(alive)
        found = segment.passages.documents(docnos)
    assert len({d.id for d in found}) == len(found)
    return {d.id: d.text for d in found}


EXPECTED = {
    "a": document("a1", 2).text, "b": document("b", 1).text, "c": document("c", 3).text
}  # fmt: skip


def test_older_rows_die(directory):
    report = check(directory)
    assert [d.segment for d in report.damage] == [None] and report.n_lost == 0
    assert "'a' is alive more than once" in report.damage[0].problem
    repaired = repair(directory)
    assert repaired.repaired and repaired.dropped_segments == () and repaired.n_lost == 0
    assert held(directory) == EXPECTED
    assert check(directory).ok


def test_dead_rows_are_no_damage(directory):
    repair(directory)
    assert not repair(directory).repaired


def test_with_their_tombstones_lost(directory, flip):
    repair(directory)
    (name,) = directory.list("tombstones")
    flip(directory.path / "tombstones" / name, 4200)
    report = check(directory)
    assert [d.file for d in report.damage] == [f"tombstones/{name}"]
    assert report.n_may_reappear == 0 and report.n_lost == 0
    repair(directory)
    assert held(directory) == EXPECTED
    assert check(directory).ok
