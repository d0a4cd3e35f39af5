"""Hybrid search through LangChain is the engine's, wherever it is asked for."""

import pytest

from weft import Hybrid
from weft.engine.errors import InvalidParameterError
from weft.integrations.langchain import WeftDocumentIndex, WeftRetriever

TEXT = "threads are drawn on the loom"
FORMS = ["rrf", "weighted", 0, 0.3, {"weight": 0.3}, Hybrid("rrf", rank_constant=5)]


def searched(store, text=TEXT, **given):
    return [hit.id for hit in store.index.search(text, 4, **given)]


def ids(documents):
    return [document.id for document in documents]


@pytest.mark.parametrize("hybrid", FORMS)
async def test_every_way_to_ask(store, hybrid):
    expected = searched(store, hybrid=hybrid)
    assert ids(store.similarity_search(TEXT, k=4, hybrid=hybrid)) == expected
    for adapter in (WeftRetriever, WeftDocumentIndex):
        made = adapter(store.index, k=4, hybrid=hybrid)
        assert ids(made.invoke(TEXT)) == ids(await made.ainvoke(TEXT)) == expected
        plain = adapter(store.index, k=4)
        assert ids(plain.invoke(TEXT, hybrid=hybrid)) == expected
        assert ids(plain.invoke(TEXT, {"configurable": {"hybrid": hybrid}})) == expected
    through = store.as_retriever(search_kwargs={"k": 4, "hybrid": hybrid})
    assert ids(through.invoke(TEXT)) == expected


def test_a_batch_of_queries(retriever, store):
    texts = [TEXT, "silk moths", "warp"]
    found = retriever.batch(texts, k=4, hybrid="weighted")
    assert [ids(one) for one in found] == [searched(store, t, hybrid="weighted") for t in texts]


@pytest.mark.parametrize("hybrid", ["rrf", "weighted", 0.5])
def test_scores_and_relevance(store, hybrid):
    hits = store.index.search(TEXT, 4, hybrid=hybrid)
    scored = store.similarity_search_with_score(TEXT, k=4, hybrid=hybrid)
    assert [score for _, score in scored] == [hit.score for hit in hits]
    relevant = store.similarity_search_with_relevance_scores(TEXT, k=4, hybrid=hybrid)
    highest = 2 / 61 if hybrid == "rrf" else 1
    expected = [pytest.approx(hit.score / highest) for hit in hits]
    assert [score for _, score in relevant] == expected
    assert all(0 <= score <= 1 for _, score in relevant)


@pytest.mark.parametrize("hybrid", ["bm25", True, 1.5, {"alpha": 1}])
def test_what_is_not_understood(store, hybrid):
    with pytest.raises(InvalidParameterError):
        store.similarity_search(TEXT, hybrid=hybrid)
    with pytest.raises(InvalidParameterError):
        WeftRetriever(store.index, hybrid=hybrid)
