"""Every operator and condition, against LlamaIndex's own evaluation and against naive sets."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from stand_ins import StandInStore
from word_encoder import WordEncoder

from weft import Index
from weft.engine.errors import InvalidFilterError
from weft.engine.search.filters import parse_filter
from weft.integrations.llama_index import WeftVectorStore
from weft.integrations.llama_index.filters import both, to_filter

numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.5]))
texts = st.sampled_from(["", "a", "A", "ab", "Ab c", "É", "é b"])
metadata = st.fixed_dictionaries(
    {},
    optional={
        "n": st.one_of(numbers, st.none()),
        "t": st.one_of(texts, st.none()),
        "l": st.one_of(st.lists(texts, max_size=3), st.none()),
    },
)
# Of each key only what LlamaIndex's evaluation does not raise for.
OPERATORS = {
    "n": [(o, numbers) for o in ("==", "!=", ">", ">=", "<", "<=")]
    + [(o, st.lists(st.integers(-3, 3), max_size=3)) for o in ("in", "nin")],
    "t": [(o, texts) for o in ("==", "!=", ">", ">=", "<", "<=", "contains")]
    + [(o, texts) for o in ("text_match", "text_match_insensitive")]
    + [(o, st.lists(texts, max_size=3)) for o in ("in", "nin", "any", "all")],
    "l": [("contains", texts)]
    + [(o, st.lists(texts, max_size=3)) for o in ("any", "all", "==", "!=", "nin")],
}
leaves = st.one_of(
    *(
        st.builds(MetadataFilter, key=st.just(key), operator=st.just(operator), value=value)
        for key, pairs in OPERATORS.items()
        for operator, value in pairs
    ),
    *(
        st.builds(MetadataFilter, key=st.just(key), operator=st.just("is_empty"), value=st.none())
        for key in OPERATORS
    ),
)
conditions = st.sampled_from([*FilterCondition, None])
flat = st.builds(MetadataFilters, filters=st.lists(leaves, max_size=4), condition=conditions)
nested = st.recursive(
    flat,
    lambda inner: st.builds(
        MetadataFilters,
        filters=st.lists(st.one_of(leaves, inner), max_size=3),
        condition=conditions,
    ),
    max_leaves=6,
)


def chosen(filters, collection):
    return parse_filter(to_filter(filters)).documents(StandInStore(collection)).tolist()


def naive(filters, one):
    """Conditions by hand, leaves by LlamaIndex."""
    if isinstance(filters, MetadataFilter):
        alone = MetadataFilters(filters=[filters])
        return build_metadata_filter_fn(lambda _: one, alone)("id")
    if not filters.filters:
        return True
    parts = [naive(part, one) for part in filters.filters]
    if filters.condition == FilterCondition.OR:
        return any(parts)
    return not any(parts) if filters.condition == FilterCondition.NOT else all(parts)


@settings(max_examples=300, deadline=None)
@given(flat, st.lists(metadata, max_size=8))
def test_flat_filters_choose_what_llama_index_chooses(filters, collection):
    match = build_metadata_filter_fn(lambda number: collection[int(number)], filters)
    expected = [bool(match(str(number))) for number in range(len(collection))]
    assert chosen(filters, collection) == expected


@settings(max_examples=200, deadline=None)
@given(nested, st.lists(metadata, max_size=8))
def test_nested_filters_choose_what_their_parts_do(filters, collection):
    assert chosen(filters, collection) == [bool(naive(filters, one)) for one in collection]


COLLECTION = [
    {"n": n, "t": t, "l": list(items)}
    for n, t, items in itertools.product((1, 2.5), ("Loom", "É loom"), ([], ["a"], ["a", "b"]))
] + [{}, {"n": None}, {"t": ""}]
EXAMPLES = [
    *(("n", operator, 2) for operator in ("==", "!=", ">", ">=", "<", "<=")),
    *(("t", operator, "loom") for operator in ("contains", "text_match", "text_match_insensitive")),
    ("t", "text_match_insensitive", "é LOOM"), ("n", "in", [1, 3]), ("n", "nin", [1, 3]),
    ("l", "any", ["b", "c"]), ("l", "all", ["a", "b"]), ("l", "contains", "a"),
    *((key, "is_empty", None) for key in "ntl"),
]  # fmt: skip


def test_every_operator_has_an_example():
    assert {operator for _, operator, _ in EXAMPLES} == {one.value for one in FilterOperator}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Both kinds at once: half of the nodes are in a coded segment, half in a flat one."""
    folder = tmp_path_factory.mktemp("filters") / "index"
    with Index.create(folder, encoder=WordEncoder(), flat_below_tokens=0) as index:
        index.add([f"warp number {n} and weft {n + 7}" for n in range(60)])
        index.compact()
        store = WeftVectorStore(index)
        store.clear()
        nodes = [
            TextNode(id_=str(n), text=f"loom {n}", metadata=one) for n, one in enumerate(COLLECTION)
        ]
        store.add(nodes[::2])
        store.add(nodes[1::2])
        yield store


@pytest.mark.parametrize(("key", "operator", "value"), EXAMPLES)
def test_operators_in_an_index(loaded, key, operator, value):
    filters = MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)])
    match = build_metadata_filter_fn(lambda number: COLLECTION[int(number)], filters)
    expected = {str(n) for n in range(len(COLLECTION)) if match(str(n))}
    assert {node.id_ for node in loaded.get_nodes(filters=filters)} == expected
    found = loaded.as_retriever(k=50, filters=filters).retrieve("loom")
    assert {one.node_id for one in found} == expected
    few = loaded.as_retriever(k=2, filters=filters).retrieve("loom 3")
    assert len(few) == min(2, len(expected))


def one(key="n", operator="==", value=1):
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)])


def test_what_cannot_be_is_refused():
    for wrong in (
        *(one(value=None), one(operator="!=", value=None), one(operator="in", value="ab")),
        *(one(operator="any", value="a"), one(operator=">", value=["a"])),
        *(one(operator="text_match", value=1), one(operator="text_match_insensitive", value=1)),
        *(one(key="$or"), one(key=""), one(operator="in", value=list(range(2000)))),
    ):
        with pytest.raises(InvalidFilterError):
            to_filter(wrong)
    deep = one()
    for _ in range(40):
        deep = MetadataFilters(filters=[deep], condition="not")
    with pytest.raises(InvalidFilterError, match="nested"):
        to_filter(deep)


def test_two_filters_at_once():
    assert both(None, None) is None
    assert both({"a": 1}, None) == both(None, {"a": 1}) == {"a": 1}
    assert both({"a": 1}, {"b": 2}) == {"$and": [{"a": 1}, {"b": 2}]}
