"""Metadata look-ups against a matcher in plain Python."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.engine.documents import Document
from weft.engine.errors import InvalidDocumentError, InvalidFilterError
from weft.engine.storage.metadata import documents_where
from weft.engine.storage.passages_writer import PassagesWriter

numbers = (
    st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, 1e300, 2.0**53, 2**53, 2**53 + 1])
    | st.sampled_from([2**63 - 1, -(2**63), 2.0**63, 0.1, 0.30000000000000004])
)
texts = st.sampled_from(["", "a", "ab", "b", "A", "é", "z", "\U0001f600", "\uffff", "1", "null"])
keys = st.sampled_from(["a", "b", "c", "a.b"])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
metadata = st.dictionaries(keys, values, max_size=4)
paths = st.sampled_from(["a", "b", "c", "a.b", "a.c", "b.a", "a.b.c", "none"])
operators = st.sampled_from(
    ["$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$exists", "$contains", "$icontains"]
)
huge = st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**400, -(10**400), 2**53 + 1, 10**300])


def addressed(document, path):
    """Every value that a dotted path leads to."""
    found = [document[path]] if path in document else []
    for key, value in document.items():
        if isinstance(value, dict) and path.startswith(f"{key}."):
            found += addressed(value, path[len(key) + 1 :])
    return found


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return type(a) is type(b) and a == b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | dict) or isinstance(b, list | dict):
        return False
    return a == b


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare(operator, value, operand):
    both_numbers = is_number(value) and is_number(operand)
    both_texts = isinstance(value, str) and isinstance(operand, str)
    if not both_numbers and not both_texts:
        return False
    return {
        "$gt": value > operand,
        "$gte": value >= operand,
        "$lt": value < operand,
        "$lte": value <= operand,
    }[operator]


def holds(operator, value, operand):
    if operator == "$eq":
        return same(value, operand)
    if operator == "$in":
        return any(same(value, item) for item in operand)
    if operator == "$exists":
        return True
    if operator == "$icontains":
        return isinstance(value, str) and operand.lower() in value.lower()
    if operator == "$contains":
        if isinstance(value, list):
            return any(same(item, operand) for item in value)
        return isinstance(value, str) and isinstance(operand, str) and operand in value
    return compare(operator, value, operand)


def written(path, collection):
    with PassagesWriter(path) as writer:
        half = len(collection) // 2
        for part in (collection[:half], collection[half:]):
            writer.add_documents([Document("id", "text", value) for value in part])
        writer.finish()
    return sqlite3.connect(path)


@given(
    collection=st.lists(metadata, min_size=1, max_size=8),
    path=paths,
    operator=operators,
    operand=values | huge,
    more=st.lists(values | huge, max_size=3),
)
@settings(max_examples=250, deadline=None)
def test_look_ups(tmp_path_factory, collection, path, operator, operand, more):
    if operator == "$in":
        operand = [operand, *more]
    if operator == "$exists":
        operand = True
    if operator == "$icontains":
        operand = str(operand)
    connection = written(tmp_path_factory.mktemp("metadata") / "passages.sqlite", collection)
    expected = {
        docno
        for docno, document in enumerate(collection)
        if any(holds(operator, value, operand) for value in addressed(document, path))
    }
    assert documents_where(connection, path, operator, operand) == expected
    connection.close()


@pytest.mark.parametrize(
    ("operator", "operand"), [("$ne", 1), ("eq", 1), ("$in", "abc"), ("$in", 3), ("$exists", False)]
)
def test_unusable_look_ups(tmp_path, operator, operand):
    connection = written(tmp_path / "passages.sqlite", [{"a": 1}])
    with pytest.raises(InvalidFilterError):
        documents_where(connection, "a", operator, operand)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), object(), b"bytes", "\ud800", {1, 2}]
)
def test_metadata_that_is_not_json(tmp_path, value):
    for held in ({"a": value}, {"a": [value]}, {"a": {"b": value}}):
        with (
            pytest.raises(InvalidDocumentError),
            PassagesWriter(tmp_path / "passages.sqlite") as writer,
        ):
            writer.add_documents([Document("id", "text", held)])
        (tmp_path / "passages.sqlite").unlink()
