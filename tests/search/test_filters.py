"""Filters against a matcher of one document at a time, and their refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import StandInStore, find, holds

from weft.engine import limits
from weft.engine.errors import InvalidFilterError
from weft.engine.search.filters import COMPARISONS, parse_filter

KEYS = ["a", "b", "c.d", "c.e"]


def matches(metadata, specification):
    """The meaning of a filter, for one document."""
    return all(entry(metadata, key, value) for key, value in specification.items())


def entry(metadata, key, value):
    if key == "$and":
        return all(matches(metadata, part) for part in value)
    if key == "$or":
        return any(matches(metadata, part) for part in value)
    if key == "$not":
        return not matches(metadata, value)
    if not isinstance(value, dict):
        value = {"$eq": value}
    return all(compare(metadata, key, operator, operand) for operator, operand in value.items())


def compare(metadata, key, operator, operand):
    there = find(metadata, key)
    if operator == "$exists":
        return (there is not None) is operand
    if operator == "$not":
        return not entry(metadata, key, operand)
    if operator == "$ne":
        return not compare(metadata, key, "$eq", operand)
    if operator == "$nin":
        return not compare(metadata, key, "$in", operand)
    return there is not None and holds(there[0], operator, operand)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 1.5]),
    st.sampled_from(["", "x", "xy", "1"]),
)  # fmt: skip
values = st.one_of(scalars, st.lists(scalars, max_size=3))
documents = st.fixed_dictionaries(
    {}, optional={"a": values, "b": values, "c": st.fixed_dictionaries({}, optional={"d": values})}
)
ordered = st.one_of(st.integers(-2, 2), st.sampled_from([0.5, 1.0]), st.sampled_from(["", "x"]))
operators = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "$eq": values,
            "$ne": values,
            "$gt": ordered,
            "$gte": ordered,
            "$lt": ordered,
            "$lte": ordered,
            "$in": st.lists(scalars, max_size=3),
            "$nin": st.lists(scalars, max_size=3),
            "$exists": st.booleans(),
            "$contains": scalars,
            "$icontains": st.sampled_from(["", "X", "xY", "é"]),
        },
    ).filter(bool),
    lambda inner: st.fixed_dictionaries({"$not": inner}),
    max_leaves=2,
)
fields = st.dictionaries(st.sampled_from(KEYS), st.one_of(values, operators), max_size=2)
filters = st.recursive(
    fields,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(documents, max_size=8), filters)
def test_filters_mean_what_the_matcher_says(metadata, specification):
    mask = parse_filter(specification).documents(StandInStore(metadata))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [matches(one, specification) for one in metadata]


def chosen(specification, *metadata):
    return np.flatnonzero(parse_filter(specification).documents(StandInStore(metadata))).tolist()


def test_types_are_kept_apart():
    metadata = [{"a": True}, {"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": None}, {}]
    assert chosen({"a": True}, *metadata) == [0]
    assert chosen({"a": 1}, *metadata) == [1, 2]
    assert chosen({"a": None}, *metadata) == [4]
    assert chosen({"a": {"$gte": 0}}, *metadata) == [1, 2]


def test_a_missing_key_matches_only_negations():
    assert chosen({"a": {"$ne": 1}}, {}) == [0]
    assert chosen({"a": {"$nin": [1]}}, {}) == [0]
    assert chosen({"a": {"$not": {"$gt": 1}}}, {}) == [0]
    assert chosen({"$not": {"a": 1}}, {}) == [0]
    assert chosen({"a": {"$exists": False}}, {}) == [0]
    for operator in ("$eq", "$gt", "$lte"):
        assert chosen({"a": {operator: 1}}, {}) == []


def test_several_keys_and_several_operators_must_all_hold():
    metadata = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 3, "b": 2}]
    assert chosen({"a": 1, "b": 2}, *metadata) == [1]
    assert chosen({"b": {"$gt": 0, "$lt": 2}}, *metadata) == [0]
    assert chosen({}, *metadata) == [0, 1, 2]


def nested(depth):
    specification = {"a": 1}
    for _ in range(depth):
        specification = {"$not": specification}
    return specification


def test_depth_has_a_limit():
    assert chosen(nested(limits.MAX_FILTER_DEPTH - 1), {"a": 1}) in ([], [0])
    for depth in (limits.MAX_FILTER_DEPTH, 50_000):
        with pytest.raises(InvalidFilterError, match="nested"):
            parse_filter(nested(depth))
    with pytest.raises(InvalidFilterError, match="nested"):
        specification = {"$gt": 1}
        for _ in range(50_000):
            specification = {"$not": specification}
        parse_filter({"a": specification})
    with pytest.raises(InvalidFilterError, match="levels"):
        deep = []
        for _ in range(50_000):
            deep = [deep]
        parse_filter({"a": deep})


def test_clauses_have_a_limit():
    most = limits.MAX_FILTER_CLAUSES
    parse_filter({"$or": [{"a": i} for i in range(most)]})
    parse_filter({"a": {"$in": list(range(most - 1))}})
    for specification in (
        {"$or": [{"a": i} for i in range(most + 1)]},
        {"a": {"$in": list(range(most))}},
        {"$and": [{"a": {"$nin": list(range(600))}}] * 2},
    ):
        with pytest.raises(InvalidFilterError, match="clauses"):
            parse_filter(specification)


def test_unknown_operators_are_refused_with_the_known_ones():
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter({"a": {"$regex": "x"}})
    assert "$regex" in str(caught.value)
    assert all(operator in str(caught.value) for operator in COMPARISONS)
    with pytest.raises(InvalidFilterError, match=r"\$nor.*\$and, \$or, \$not"):
        parse_filter({"$nor": [{"a": 1}]})
    with pytest.raises(InvalidFilterError, match=r"'a\.b'"):
        parse_filter({"a": {"b": 1}})


@pytest.mark.parametrize(
    "specification",
    [
        None,
        [],
        "a",
        {1: 2},
        {"": 1},
        {"a": {}},
        {"a": {1: 2}},
        {"a": float("nan")},
        {"a": {"$lt": float("inf")}},
        {"a": {"$in": [float("nan")]}},
        {"a": {"$gt": None}},
        {"a": {"$gt": True}},
        {"a": {"$gte": [1]}},
        {"a": {"$in": 1}},
        {"a": {"$in": "xy"}},
        {"a": {"$nin": {"x": 1}}},
        {"a": {"$exists": 1}},
        {"a": {"$exists": "yes"}},
        {"a": {"$not": 1}},
        {"a": {"$and": [{"$gt": 1}]}},
        {"a": {"$eq": {1: 2}}},
        {"a": {"$contains": b"x"}},
        {"a": {"$icontains": 1}},
        {"a": {"$icontains": "\ud800"}},
        {"a": np.int64(1)},
        {"a": {1, 2}},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": {"$eq": {"\ud800": 1}}},
        {"$and": []},
        {"$or": {"a": 1}},
        {"$or": [1]},
        {"$not": [{"a": 1}]},
    ],
)
def test_unusable_filters_are_refused(specification):
    with pytest.raises(InvalidFilterError):
        parse_filter(specification)
