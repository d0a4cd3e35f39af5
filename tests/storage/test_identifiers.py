"""Ids are found in a segment as in a dictionary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.engine.errors import CorruptIndexError, InvalidDocumentError
from weft.engine.storage import identifiers
from weft.engine.storage.identifiers import IdQuery, IdTable, id_tensors

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(present=st.lists(ids, unique=True, max_size=60), asked=st.lists(ids, max_size=20))
@settings(max_examples=80, deadline=None)
def test_find_is_a_dictionary(present, asked):
    table = IdTable(id_tensors(present), "file")
    expected = {id: n for n, id in enumerate(present)}
    wanted = [*asked, *present[::3]]
    assert table.find(IdQuery(wanted)) == {id: expected[id] for id in wanted if id in expected}
    assert list(table) == present
    assert [table.id(n) for n in range(len(table))] == present


def test_colliding_hashes(monkeypatch):
    monkeypatch.setattr(
        identifiers,
        "hash_ids",
        lambda encoded: np.array([len(id) % 2 for id in encoded], np.uint64),
    )
    present = [f"{'x' * (n % 7)}{n}" for n in range(50)]
    table = IdTable(id_tensors(present), "file")
    assert table.find(IdQuery([*present, "other", "y"])) == {id: n for n, id in enumerate(present)}


def test_few_unknown_ids_pass_the_filter():
    table = IdTable(id_tensors([f"known {n}" for n in range(5000)]), "file")
    unknown = IdQuery([f"unknown {n}" for n in range(5000)])
    assert table.may_hold(unknown.hashes).mean() < 0.02
    assert table.may_hold(IdQuery([f"known {n}" for n in range(5000)]).hashes).all()


def test_lone_surrogates():
    with pytest.raises(InvalidDocumentError, match="surrogate"):
        IdQuery(["fine", "\ud800"])


@pytest.mark.parametrize(
    ("key", "damage"),
    [
        ("id_offsets", lambda a: a[:-1]),
        ("id_offsets", lambda a: a + 1),
        ("id_offsets", lambda a: a[::-1]),
        ("id_hashes", lambda a: a[::-1]),
        ("id_docnos", lambda a: a + np.uint32(1)),
        ("id_docnos", lambda a: a[:-1]),
        ("id_bloom", lambda a: a[:0]),
        ("id_bytes", lambda a: a[:-1]),
    ],
)
def test_tensors_that_do_not_fit(key, damage):
    tensors = id_tensors(["one", "two", "three"])
    tensors[key] = damage(tensors[key])
    with pytest.raises(CorruptIndexError, match="file"):
        IdTable(tensors, "file")
