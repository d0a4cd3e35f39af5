"""The vector store: adding, deleting, scores, thresholds, what is not supported."""

import copy
import datetime
import gc
import inspect
import uuid

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStoreRetriever
from word_encoder import WordEncoder

from weft import Index
from weft.engine.errors import (
    DuplicateDocumentError,
    InvalidDocumentError,
    InvalidParameterError,
    WeftError,
)
from weft.integrations.langchain import WeftVectorStore


def ids(documents):
    return [document.id for document in documents]


METADATA = {
    "text": "ä€😀",
    "integer": 2**62,
    "float": 0.1,
    "whole": 3.0,
    "flag": True,
    "none": None,
    "list": [1, "a", [None, 2.5]],
    "object": {"inner": {"deep": [True]}, "dotted.key": 1},
}


def test_what_was_added_comes_back_by_every_way(store):
    added = Document(id="all", page_content="velvet\n\tvelour ü 😀 ", metadata=METADATA)
    before = copy.deepcopy(added)
    assert store.add_documents([added]) == ["all"]
    found = [
        store.get_by_ids(["all"])[0],
        store.similarity_search("velvet", k=1)[0],
        store.similarity_search_with_score("velvet", k=1)[0][0],
        store.similarity_search_with_relevance_scores("velvet", k=1)[0][0],
        store.search("velvet", "similarity", k=1)[0],
        store.as_retriever().invoke("velvet")[0],
    ]
    assert found == [before] * 6 and added == before
    assert type(found[0].metadata["whole"]) is float and found[0].metadata["flag"] is True


async def test_the_same_by_every_asynchronous_way(store):
    added = Document(id="all", page_content="velvet velour", metadata=METADATA)
    assert await store.aadd_documents([added]) == ["all"]
    found = [
        (await store.aget_by_ids(["all"]))[0],
        (await store.asimilarity_search("velvet", k=1))[0],
        (await store.asimilarity_search_with_score("velvet", k=1))[0][0],
        (await store.asimilarity_search_with_relevance_scores("velvet", k=1))[0][0],
        (await store.asearch("velvet", "similarity", k=1))[0],
        (await store.as_retriever().ainvoke("velvet"))[0],
    ]
    assert found == [added] * 6
    assert await store.aadd_texts(["new"], [{"a": 1}], ids=["all"]) == ["all"]
    assert store.get_by_ids(["all"]) == [Document(id="all", page_content="new", metadata={"a": 1})]
    assert await store.adelete(["all"]) is True
    assert await store.aget_by_ids(["all"]) == []
    assert await store.adelete() is True
    assert store.index.count() == 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2), r"metadata\['key'\] is a tuple.*use list"),
        ({"a": [(1,)]}, r"metadata\['key'\]\['a'\]\[0\] is a tuple"),
        (datetime.date(2020, 1, 1), r"metadata\['key'\] is a date.*isoformat"),
        ({1, 2}, r"metadata\['key'\] is a set"),
        (uuid.UUID(int=1), r"metadata\['key'\] is a UUID"),
        (b"bytes", r"metadata\['key'\] is a bytes"),
        (float("nan"), r"metadata\['key'\] is nan.*None"),
        (2**80, r"metadata\['key'\].*64 bits"),
        ({3: "a"}, r"metadata\['key'\].*key 3"),
        ("\ud800", "surrogate"),
        ("x" * 70_000, "bytes"),
    ],
)
async def test_metadata_that_json_cannot_hold_is_refused_by_name(store, value, words):
    before = store.index.stats().generation
    good = Document(page_content="good")
    bad = Document(id="bad", page_content="bad", metadata={"key": value})
    with pytest.raises(InvalidDocumentError, match=words) as caught:
        store.add_documents([good, bad])
    assert "'bad'" in str(caught.value)
    with pytest.raises(InvalidDocumentError, match=words):
        await store.aadd_texts(["bad"], [{"key": value}])
    assert store.index.stats().generation == before


def test_a_list_that_contains_itself_is_refused(store):
    endless = []
    endless.append(endless)
    with pytest.raises(InvalidDocumentError, match="nested"):
        store.add_texts(["a"], [{"key": endless}])


def test_bad_documents_are_refused_and_nothing_is_written(store):
    before = store.index.stats().generation
    for documents, kind in (
        ([Document(page_content="")], InvalidDocumentError),
        ([Document(page_content="a", id="x" * 600)], InvalidDocumentError),
        ([Document(page_content="a", id="x"), Document(page_content="b", id="x")], WeftError),
        (["a text"], InvalidDocumentError),
    ):
        with pytest.raises(kind):
            store.add_documents(documents, batch_size=1)
    with pytest.raises(DuplicateDocumentError, match="'x'"):
        store.add_texts(["a", "b"], ids=["x", "x"])
    for given in ({"metadatas": [{}]}, {"ids": ["a"]}):
        with pytest.raises(InvalidDocumentError, match="for 2"):
            store.add_texts(["a", "b"], **given)
    with pytest.raises(InvalidDocumentError, match="1 ids for 2"):
        store.add_documents([Document(page_content="a")] * 2, ids=["1"])
    with pytest.raises(InvalidDocumentError, match="single string"):
        store.add_texts("a text")
    assert store.index.stats().generation == before


def test_ids_are_taken_made_or_replaced(store):
    documents = [Document(id="own", page_content="one"), Document(page_content="two")]
    own, made = store.add_documents(documents)
    assert own == "own" and len(made) == 32
    assert store.add_documents(documents, ids=["a", None])[0] == "a"
    assert documents == [Document(id="own", page_content="one"), Document(page_content="two")]
    assert store.add_texts(["x", "y"], ids=["b", None])[0] == "b"
    assert store.add_texts(iter(["x"]), ids=["b"]) == ["b"]
    assert store.add_documents([]) == store.add_texts([]) == []
    assert ids(store.get_by_ids(["b", "missing", "own", "b"])) == ["b", "own"]


def test_batch_size_is_documents_per_commit(store):
    before = store.index.stats().generation
    store.add_texts([f"text {n}" for n in range(5)], batch_size=2)
    assert store.index.stats().generation == before + 3
    for wrong in (0, -1, "2", True):
        with pytest.raises(InvalidParameterError, match="batch_size"):
            store.add_texts(["a"], batch_size=wrong)


def test_delete(store):
    assert store.delete(["warp", "unknown"]) is True
    assert store.get_by_ids(["warp"]) == []
    generation = store.index.stats().generation
    assert store.delete([]) is True
    assert store.index.stats().generation == generation
    assert store.delete() is True
    assert store.index.count() == 0 and store.similarity_search("weft") == []
    assert store.delete() is True
    with pytest.raises(InvalidDocumentError):
        store.delete("weft")


async def test_scores_and_relevance(store):
    query = "warp threads spun"
    hits = store.index.search(query, 5)
    scored = store.similarity_search_with_score(query, 5)
    assert [(document.id, score) for document, score in scored] == [
        (hit.id, pytest.approx(hit.score, abs=1e-6)) for hit in hits
    ]
    assert await store.asimilarity_search_with_score(query, 5) == scored
    relevant = store.similarity_search_with_relevance_scores(query, 5)
    assert ids(d for d, _ in relevant) == [hit.id for hit in hits]
    for (_, relevance), hit in zip(relevant, hits, strict=True):
        assert relevance == pytest.approx(min(max(hit.score / 3, 0), 1), abs=1e-6)
        assert 0 <= relevance <= 1
    assert await store.asimilarity_search_with_relevance_scores(query, 5) == relevant
    bound = relevant[1][1]
    assert len(store.similarity_search_with_relevance_scores(query, 5, score_threshold=bound)) == 2
    exact = store.similarity_search_with_relevance_scores("warp threads are taut", 1)
    assert exact[0][1] == pytest.approx(1, abs=0.02) and exact[0][1] <= 1
    with pytest.raises(NotImplementedError, match="similarity_search_with_relevance_scores"):
        store._select_relevance_score_fn()


def test_opposite_vectors_have_no_relevance(tmp_path):
    class Opposed(WordEncoder):
        def encode_queries(self, texts):
            return [-vectors for vectors in super().encode_queries(texts)]

    store = WeftVectorStore(Index.create(tmp_path / "index", encoder=Opposed()))
    store.add_texts(["warp"])
    assert store.similarity_search_with_score("warp")[0][1] == pytest.approx(-1, abs=1e-3)
    assert store.similarity_search_with_relevance_scores("warp")[0][1] == 0


def test_search_arguments(store):
    assert ids(store.similarity_search("warp", 1, {"year": 1910})) == ["silk"]
    found = store.similarity_search("warp taut", k=1, score_key="s", effort="exact")
    assert found[0].metadata["s"] == pytest.approx(2, abs=0.05)
    assert store.similarity_search("warp taut", k=1, explain_key="why")[0].metadata["why"]
    assert store.explain("warp taut", "warp").total == pytest.approx(2, abs=0.05)
    for call in (
        store.similarity_search,
        store.similarity_search_with_score,
        store.similarity_search_with_relevance_scores,
    ):
        with pytest.raises(InvalidParameterError, match="fetch_k"):
            call("warp", fetch_k=20)


UNSUPPORTED = [
    ("similarity_search_by_vector", [0.1]),
    ("max_marginal_relevance_search", "warp"),
    ("max_marginal_relevance_search_by_vector", [0.1]),
]


@pytest.mark.parametrize(("name", "argument"), UNSUPPORTED)
async def test_what_needs_one_vector_says_why_it_is_not_there(store, name, argument):
    with pytest.raises(NotImplementedError, match="per token"):
        getattr(store, name)(argument)
    with pytest.raises(NotImplementedError, match="per token"):
        await getattr(store, "a" + name)(argument)


async def test_other_search_types(store):
    with pytest.raises(NotImplementedError, match="per token"):
        store.search("warp", "mmr")
    with pytest.raises(NotImplementedError, match="per token"):
        store.as_retriever(search_type="mmr")
    with pytest.raises(ValueError, match="not allowed"):
        store.as_retriever(search_type="best")
    with pytest.raises(ValueError, match="not allowed"):
        await store.asearch("warp", "best")
    retriever = store.as_retriever(search_kwargs={"k": 2}, tags=["mine"])
    assert isinstance(retriever, VectorStoreRetriever)
    assert retriever.tags == ["mine"] and len(retriever.invoke("warp")) == 2
    assert retriever.add_documents([Document(id="n", page_content="new")]) == ["n"]


async def test_from_texts_and_documents(store, fabrics, tmp_path):
    encoder = WordEncoder()
    made = WeftVectorStore.from_texts(["warp", "weft"], encoder, [{"n": 1}, {}], ids=["a", None])
    assert made.get_by_ids(["a"]) == [Document(id="a", page_content="warp", metadata={"n": 1})]
    assert made.index.count() == 2
    folder = made.index.path
    assert folder.is_dir()
    index = made.index
    del made
    assert index.count() == 2
    del index
    gc.collect()
    assert not folder.exists()
    some = await WeftVectorStore.afrom_texts(["warp"], encoder, index=tmp_path / "some")
    assert some.index.path == tmp_path / "some"
    again = WeftVectorStore.from_documents(fabrics, encoder, index=tmp_path / "some")
    assert again.index.count() == 6 and again.get_by_ids(["silk"])[0] == fabrics[2]
    other = await WeftVectorStore.afrom_documents(fabrics, None, index=store.index)
    assert other.index.count() == 5
    for wrong in (DeterministicFakeEmbedding(size=6),):
        with pytest.raises(InvalidParameterError, match="one vector per text"):
            WeftVectorStore.from_texts(["a"], wrong)
    with pytest.raises(InvalidParameterError, match="encoder is a int"):
        WeftVectorStore.from_texts(["a"], 3)
    with pytest.raises(TypeError, match="persist_directory"):
        WeftVectorStore.from_texts(["a"], encoder, persist_directory="x")


def test_a_folder_is_made_once_and_opened_afterwards(tmp_path):
    with WeftVectorStore(tmp_path / "index", encoder=WordEncoder()).index as index:
        WeftVectorStore(index).add_texts(["warp"], ids=["a"])
    store = WeftVectorStore(str(tmp_path / "index"), encoder=WordEncoder())
    assert store.get_by_ids(["a"]) and store.embeddings is None
    with pytest.raises(WeftError):
        WeftVectorStore(tmp_path, encoder=WordEncoder())


PAIRS = [
    *("add_texts", "add_documents", "delete", "get_by_ids", "similarity_search", "search"),
    *("similarity_search_with_score", "similarity_search_with_relevance_scores"),
    *("similarity_search_by_vector", "max_marginal_relevance_search"),
    *("max_marginal_relevance_search_by_vector", "from_texts", "from_documents"),
]


@pytest.mark.parametrize("name", PAIRS)
def test_sync_and_async_have_the_same_signature(name):
    def parameters(of):
        return [(p.name, p.kind, p.default) for p in inspect.signature(of).parameters.values()]

    assert parameters(getattr(WeftVectorStore, name)) == parameters(
        getattr(WeftVectorStore, "a" + name)
    )


@pytest.mark.parametrize("name", ["add_texts", "add_documents", "delete", "get_by_ids"])
async def test_arguments_that_are_not_known_raise(store, name):
    first = [Document(page_content="a")] if name == "add_documents" else ["a"]
    with pytest.raises((InvalidParameterError, TypeError), match="namespace"):
        getattr(store, name)(first, namespace="x")
    with pytest.raises((InvalidParameterError, TypeError), match="namespace"):
        await getattr(store, "a" + name)(first, namespace="x")
