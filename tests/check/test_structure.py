"""Structure that is wrong under sound checksums: what an attacker, or an error of ours, leaves."""

import numpy as np
import pytest
from forgery import ARRAYS, PASSAGES, forge_arrays, forge_sqlite, segment_folder

import weft


def files_of(report) -> set[str]:
    return {damage.file for damage in report.damage}


def name_of(index, path) -> str:
    return str(path.relative_to(index))


STRUCTURES = {
    "codes": lambda t: t["codes"].__setitem__(0, 60000),
    "pids": lambda t: t["ivf_pids"].__setitem__(-1, 99999),
    "order of pids": lambda t: t.__setitem__("ivf_pids", t["ivf_pids"][::-1].copy()),
    "lengths of lists": lambda t: t["ivf_lengths"].__setitem__(slice(None), t["ivf_lengths"][::-1]),
    "hashes": lambda t: t["id_hashes"].__setitem__(0, 0),
    "docnos": lambda t: t["id_docnos"].__setitem__(0, t["id_docnos"][1]),
    "bloom": lambda t: t["id_bloom"].__setitem__(slice(None), 0),
    "ids": lambda t: t["id_bytes"].__setitem__(0, 0xFF),
    "sequences": lambda t: t["sequences"].__setitem__(0, 10**6),
    "doclens": lambda t: t["doclens"].__setitem__(
        slice(0, 2), t["doclens"][:2] + np.array([1, -1])
    ),
    "passage_document": lambda t: t["passage_document"].__setitem__(0, 1),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_under_sound_checksums(index, name):
    def change(tensors):
        STRUCTURES[name](tensors)

    forge_arrays(index, change)
    report = weft.check(index)
    assert files_of(report) == {name_of(index, segment_folder(index) / ARRAYS)}
    assert report.damage[0].offset is None


def test_embeddings_that_are_not_finite(index):
    forge_arrays(index, lambda t: t["embeddings"].__setitem__((3, 2), np.nan), 2)
    (damage,) = weft.check(index).damage
    assert "embedding 3" in damage.problem


ROWS = {
    "id": "UPDATE documents SET id = 'other' WHERE docno = 3",
    "text": "UPDATE documents SET text = x'ff' WHERE docno = 3",
    "metadata": "UPDATE documents SET metadata = '{\"version\":7}' WHERE docno = 3",
    "not JSON": "UPDATE documents SET metadata = '[' WHERE docno = 3",
    "document gone": "DELETE FROM documents WHERE docno = 3",
    "document more": "INSERT INTO documents VALUES (60, 'x', NULL, '{}', '')",
    "metadata row gone": "DELETE FROM metadata WHERE docno = 3 AND key = 'version'",
    "metadata row more": "INSERT INTO metadata VALUES ('k', 0, 0, 0, 3)",
    "passage": "UPDATE passages SET docno = 2 WHERE docno = 3",
    "ordinal": "UPDATE passages SET ordinal = 9 WHERE pid = 3",
    "span": "UPDATE passages SET end = 100000 WHERE pid = 3",
    "span of text": "UPDATE passages SET start = 'a' WHERE pid = 3",
    "passage gone": "DELETE FROM passages WHERE pid = 3",
    "full text": "DELETE FROM fulltext_docsize WHERE id = 3",
    "schema": "CREATE TABLE more(x)",
}


@pytest.mark.parametrize("name", ROWS)
def test_text_that_does_not_fit_the_arrays(index, name):
    forge_sqlite(index, ROWS[name])
    report = weft.check(index)
    assert files_of(report) == {name_of(index, segment_folder(index) / PASSAGES)}
    assert report.n_lost == 43
