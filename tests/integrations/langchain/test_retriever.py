"""The retriever: what comes back, how a call is told what, and what is refused."""

import copy

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnableParallel
from langchain_core.tools import create_retriever_tool

from weft.engine.errors import (
    IndexNotFoundError,
    InvalidFilterError,
    InvalidParameterError,
    InvalidQueryError,
)
from weft.engine.search.plan import KNOWN
from weft.integrations.langchain import WeftDocumentIndex, WeftRetriever
from weft.integrations.langchain.settings import NAMES


def ids(documents):
    return [document.id for document in documents]


def test_documents_come_back_as_they_were_added(retriever, fabrics):
    found = retriever.invoke("warp threads", k=5)
    assert sorted(found, key=lambda d: d.id) == sorted(fabrics, key=lambda d: d.id)
    assert found[0].id == "warp"


def test_what_comes_back_may_be_changed(retriever, fabrics):
    retriever.invoke("warp taut", k=1)[0].metadata["n"].append(2)
    assert retriever.invoke("warp taut", k=1) == fabrics[:1]


@pytest.mark.parametrize("k", [1, 2, 5, 9])
async def test_k_of_constructor_call_and_config_sync_and_async(retriever, k):
    made = WeftRetriever(retriever.index, k=k)
    expected = min(k, 5)
    config = {"configurable": {"k": k}}
    assert len(made.invoke("warp")) == expected
    assert len(await made.ainvoke("warp")) == expected
    assert len(retriever.invoke("warp", k=k)) == expected
    assert len(await retriever.ainvoke("warp", k=k)) == expected
    assert len(retriever.invoke("warp", config)) == expected
    assert len(await retriever.ainvoke("warp", config)) == expected
    bound = retriever.with_config(configurable={"k": k})
    assert len(bound.invoke("warp")) == expected
    assert len(await bound.ainvoke("warp")) == expected
    assert [len(found) for found in bound.batch(["warp", "weft"])] == [expected] * 2
    assert [len(found) for found in await bound.abatch(["warp", "weft"])] == [expected] * 2


def test_what_stands_nearest_to_the_call_counts(retriever):
    made = WeftRetriever(retriever.index, k=1, filter={"year": 1910})
    assert ids(made.invoke("warp")) == ["silk"]
    config = {"configurable": {"filter": {"year": 1785}}}
    assert ids(made.invoke("warp", config)) == ["weft"]
    assert ids(made.invoke("warp", config, filter={"year": 1801})) == ["warp"]
    assert ids(made.invoke("warp taut", config, filter=None)) == ["warp"]


def test_every_parameter_is_a_field_and_what_a_config_may_set(retriever):
    assert set(KNOWN) | {"filter", "score_key", "explain_key", "passage_key"} == set(NAMES)
    assert set(NAMES) <= set(WeftRetriever.model_fields)
    assert {spec.id for spec in retriever.config_specs} == set(NAMES)
    given = {"effort": "fast", "nprobe": 8, "ndocs": 100, "n_rescored": 50, "threads": 1}
    given |= {"algorithm": "plaid", "centroid_score_threshold": -1.0, "exact": False}
    given |= {"group_by": "document"}
    expected = retriever.index.search("warp", 3, **given)
    for found in (
        WeftRetriever(retriever.index, k=3, **given).invoke("warp"),
        retriever.invoke("warp", k=3, **given),
        retriever.with_config(configurable={"k": 3, **given}).invoke("warp"),
        retriever.batch(["warp", "weft"], k=3, **given)[0],
    ):
        assert ids(found) == [hit.id for hit in expected]


def test_fields_under_names_of_the_callers_choice(retriever):
    named = retriever.configurable_fields(k=ConfigurableField(id="how_many"))
    assert len(named.invoke("warp", {"configurable": {"how_many": 2}})) == 2
    assert len(named.invoke("warp", {"configurable": {"k": 2}})) == 4
    found = named.invoke("warp", {"configurable": {"how_many": 2, "filter": {"year": 1910}}})
    assert ids(found) == ["silk"]
    assert "how_many" in {spec.id for spec in named.config_specs}
    same = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert [len(f) for f in same.with_config(configurable={"k": 1}).batch(["warp", "weft"])] == [
        1,
        1,
    ]
    assert {spec.id for spec in same.config_specs} == set(NAMES)


def test_a_document_index_can_be_configured_too(documents):
    named = documents.configurable_fields(k=ConfigurableField(id="how_many"))
    assert len(named.invoke("warp", {"configurable": {"how_many": 2}})) == 2


def test_two_retrievers_in_a_chain_do_not_contradict(retriever):
    other = WeftRetriever(retriever.index, k=1)
    both = RunnableParallel(one=retriever, two=other)
    assert {spec.id for spec in both.config_specs} == set(NAMES)
    assert [len(found) for found in both.invoke("warp").values()] == [4, 1]


def test_a_config_reaches_it_inside_a_chain(retriever):
    chain = RunnableLambda(lambda text: text.upper()) | retriever | len
    assert chain.invoke("warp", {"configurable": {"k": 3}}) == 3


def test_score_explanation_and_passage_only_when_asked(retriever, fabrics):
    by_id = {document.id: document for document in fabrics}
    index = retriever.index
    found = retriever.invoke(
        "Taut warp", k=2, score_key="score", explain_key="why", passage_key="passage"
    )
    for document, hit in zip(found, index.search("Taut warp", 2), strict=True):
        added = document.model_copy(deep=True)
        assert added.metadata.pop("score") == pytest.approx(hit.score, abs=1e-6)
        passage, why = added.metadata.pop("passage"), added.metadata.pop("why")
        assert added == by_id[hit.id]
        assert passage == {"ordinal": 0, "start": 0, "end": len(hit.text)}
        explanation = index.explain("Taut warp", hit.id)
        assert explanation == retriever.explain("Taut warp", hit.id)
        for one, match in zip(why, explanation.matches, strict=True):
            assert one["query_token"] == match.query_token.text
            assert (one["start"], one["end"]) == (match.start, match.end)
            assert one["contribution"] == pytest.approx(match.contribution, abs=1e-6)
            assert document.page_content[one["start"] : one["end"]] == one["token"]
    assert [one["token"] for one in found[0].metadata["why"]] == ["taut", "warp"]


def test_passages_of_long_documents(retriever):
    words = [f"word{n}" for n in range(100)]
    retriever.index.add([" ".join(words)], ids=["long"], metadata=[{"of": ["words"]}])
    query = "word95 word96"
    whole = retriever.invoke(query, k=1, passage_key="at")[0]
    assert whole.page_content == " ".join(words)
    at = whole.metadata["at"]
    assert at["ordinal"] > 0 and "word95" in whole.page_content[at["start"] : at["end"]]
    parts = retriever.invoke(query, k=2, group_by="passage", filter={"of": ["words"]})
    assert parts[0].page_content == whole.page_content[at["start"] : at["end"]]
    assert ids(parts) == ["long", "long"] and parts[0].metadata == {"of": ["words"]}
    assert parts[0].page_content != parts[1].page_content
    with pytest.raises(InvalidParameterError, match="group_by"):
        retriever.invoke(query, group_by="passage", explain_key="why")


@pytest.mark.parametrize("key", ["score_key", "explain_key", "passage_key"])
def test_metadata_of_the_document_is_never_overwritten(retriever, key):
    with pytest.raises(InvalidParameterError, match=r"'warp'.*'year'"):
        retriever.invoke("warp taut", k=1, **{key: "year"})


BAD = [
    ({"kk": 3}, "kk"),
    ({"nprobe": 0}, "nprobe"),
    ({"k": 0}, "k is 0"),
    ({"k": "3"}, "k is '3'"),
    ({"effort": "much"}, "effort"),
    ({"score_key": ""}, "score_key"),
    ({"score_key": 1}, "score_key"),
    ({"score_key": "a", "explain_key": "a"}, "differ"),
    ({"group_by": "word"}, "group_by"),
]


@pytest.mark.parametrize(("given", "words"), BAD)
async def test_what_is_not_understood_raises(retriever, given, words):
    with pytest.raises(InvalidParameterError, match=words):
        WeftRetriever(retriever.index, **given)
    with pytest.raises(InvalidParameterError, match=words):
        retriever.invoke("warp", **given)
    with pytest.raises(InvalidParameterError, match=words):
        await retriever.ainvoke("warp", **given)
    with pytest.raises(InvalidParameterError, match=words):
        retriever.batch(["warp", "weft"], **given)
    with pytest.raises(InvalidParameterError, match=words):
        await retriever.abatch(["warp", "weft"], **given)


def test_bad_filters_queries_and_indexes_raise(retriever, tmp_path):
    with pytest.raises(InvalidFilterError, match=r"\$near"):
        retriever.invoke("warp", filter={"year": {"$near": 3}})
    with pytest.raises(InvalidFilterError):
        WeftRetriever(retriever.index, filter={"$nor": []})
    with pytest.raises(InvalidFilterError):
        retriever.invoke("warp", filter=lambda document: True)
    for query in ("", "  ", 3, None, ["warp"]):
        with pytest.raises(InvalidQueryError):
            retriever.invoke(query)
    with pytest.raises(IndexNotFoundError):
        WeftRetriever(tmp_path / "nothing")
    with pytest.raises(InvalidParameterError, match=r"weft\.Index"):
        WeftRetriever(3)
    with pytest.raises(InvalidParameterError, match="encoder"):
        WeftRetriever(retriever.index, encoder="somewhere")


def test_filters_choose_before_scoring(retriever):
    assert ids(retriever.invoke("silk", filter={"year": {"$lt": 1800}})) == ["weft"]
    assert ids(retriever.invoke("warp", filter={"year": {"$exists": False}})) == ["flax"]
    assert retriever.invoke("warp", filter={"year": 3}) == []


def test_inputs_stay_as_they_are(retriever):
    filter, config = {"year": {"$in": [1801, 1785]}}, {"configurable": {"k": 1}, "tags": ["a"]}
    before = copy.deepcopy((filter, config))
    retriever.invoke("warp", config, filter=filter)
    retriever.batch(["warp", "weft"], config, filter=filter)
    assert (filter, config) == before


def test_a_folder_serves_as_well(retriever, word_index):
    from word_encoder import WordEncoder

    made = WeftRetriever(word_index.path, encoder=WordEncoder(), k=2)
    assert made.invoke("warp taut") == retriever.invoke("warp taut", k=2)
    made.index.close()


async def test_as_a_tool_of_an_agent(retriever):
    tool = create_retriever_tool(
        WeftRetriever(retriever.index, k=1), "search", "Searches.", response_format="content"
    )
    assert tool.invoke({"query": "warp taut"}) == "warp threads are taut"
    assert await tool.ainvoke({"query": "silk moths"}) == "silk comes from moths"


def test_every_commit_is_seen_at_once(retriever):
    index = WeftDocumentIndex(retriever.index)
    for n in range(5):
        index.upsert([Document(id="new", page_content=f"velvet number{n}")])
        found = retriever.invoke(f"velvet number{n}", k=1)[0]
        assert found.page_content == f"velvet number{n}"
    index.delete(["new"])
    assert "new" not in ids(retriever.invoke("velvet", k=10))
