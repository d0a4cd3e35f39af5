"""The reranker scores like an exact index, splits long documents, and changes nothing."""

import copy
import inspect
import logging

import numpy as np
import pytest
from langchain_core.documents import Document
from word_encoder import WordEncoder

from weft import Index
from weft.engine import reranking
from weft.engine.errors import (
    CheckpointError,
    InvalidDocumentError,
    InvalidParameterError,
    InvalidQueryError,
)
from weft.engine.reranking import score_texts
from weft.integrations.langchain import WeftReranker

TEXTS = [
    "Bread dough must rest for an hour before it is baked.",
    "The ferry to the island leaves at nine and comes back at six.",
    "A violin has four strings, tuned in fifths.",
    " ".join(f"Line {n} of a long timetable." for n in range(80)) + " The boat goes at noon.",
]


def documents(texts=TEXTS):
    return [
        Document(id=str(n), page_content=text, metadata={"n": [n]}) for n, text in enumerate(texts)
    ]


def naive(encoder, query, text):
    """MaxSim of the best passage, in NumPy."""
    vectors = encoder.encode_queries([query])[0]
    parts = [text[a:b] for a, b in encoder.split(text)] or [text]
    passages = [encoder.encode_passages([part])[0] for part in parts]
    return max(float((vectors @ passage.T).max(axis=1).sum()) for passage in passages)


def test_scores_are_those_of_a_naive_maxsim_and_of_an_index(minilm, tmp_path):
    query = "When does the boat go?"
    scores = WeftReranker(encoder=minilm).score(documents(), query)
    np.testing.assert_allclose(scores, [naive(minilm, query, t) for t in TEXTS], atol=1e-4)
    with Index.create(tmp_path / "index", encoder=minilm) as index:
        index.add(TEXTS, ids=[str(n) for n in range(len(TEXTS))])
        hits = {hit.id: hit.score for hit in index.search(query, 10)}
    np.testing.assert_allclose(scores, [hits[str(n)] for n in range(len(TEXTS))], atol=1e-2)


async def test_best_first_and_as_they_were(minilm):
    given = documents()
    before = copy.deepcopy(given)
    reranker = WeftReranker(encoder=minilm)
    query = "When does the boat go?"
    found = reranker.compress_documents(given, query)
    scores = reranker.score(given, query)
    assert [d.id for d in found] == [str(n) for n in np.argsort(-np.array(scores), kind="stable")]
    assert {d.id for d in found[:2]} == {"1", "3"}
    assert sorted(found, key=lambda d: d.id) == given == before
    found[0].metadata["n"].append("changed")
    assert given == before
    assert await reranker.acompress_documents(given, query) == reranker.compress_documents(
        given, query
    )


def test_nothing_of_a_long_document_is_cut(minilm, caplog):
    text = TEXTS[3]
    with caplog.at_level(logging.WARNING):
        end = WeftReranker(encoder=minilm).score(documents(), "The boat goes at noon.")[3]
    assert caplog.records == []
    cut = float(score_texts(minilm, "The boat goes at noon.", [text[: len(text) // 2]])[0])
    assert end > cut + 1


def test_top_n_and_score_key():
    reranker = WeftReranker(encoder=WordEncoder(), top_n=2, score_key="score")
    found = reranker.compress_documents(documents(["a b", "a", "c", "a b c"]), "a b c")
    assert (found[0].id, round(found[0].metadata["score"], 3)) == ("3", 3.0)
    assert len(found) == 2 and found[1].id == "0"
    assert reranker.compress_documents([], "a") == []
    with pytest.raises(InvalidParameterError, match="'score'"):
        reranker.compress_documents([Document(page_content="a", metadata={"score": 1})], "a")


def test_ties_keep_their_order():
    reranker = WeftReranker(encoder=WordEncoder())
    found = reranker.compress_documents(documents(["x", "a", "a", "x"]), "a")
    assert [d.id for d in found] == ["1", "2", "0", "3"]


def test_many_long_texts_in_groups_of_bounded_length(monkeypatch):
    encoder = WordEncoder()
    texts = [" ".join(f"w{n}x{k}" for k in range(1 + 37 * n % 90)) for n in range(60)]
    expected = [naive(encoder, "w7x3 w9x5 other", text) for text in texts]
    for size in (1, 100, 2000, 10**6):
        monkeypatch.setattr(reranking, "GROUP_CHARACTERS", size)
        found = score_texts(encoder, "w7x3 w9x5 other", texts, threads=1)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert score_texts(encoder, "a", []).shape == (0,)


def test_documents_without_words_come_last_and_do_no_harm(minilm):
    reranker = WeftReranker(encoder=minilm)
    found = reranker.compress_documents(documents(["", "  \n", "The boat goes at noon."]), "boat")
    assert found[0].id == "2" and all(np.isfinite(reranker.score(found, "boat")))


async def test_what_is_not_understood_raises(tmp_path):
    for wrong in ({"topn": 3}, {"top_n": 0}, {"top_n": "3"}, {"score_key": ""}, {"threads": -1}):
        with pytest.raises(InvalidParameterError):
            WeftReranker(encoder=WordEncoder(), **wrong)
    with pytest.raises(CheckpointError):
        WeftReranker(encoder=tmp_path / "nothing")
    reranker = WeftReranker(encoder=WordEncoder())
    for query in ("", " ", None, 3):
        with pytest.raises(InvalidQueryError):
            reranker.compress_documents(documents(), query)
    with pytest.raises(InvalidDocumentError, match="str"):
        await reranker.acompress_documents(["a text"], "a")
    with pytest.raises(InvalidDocumentError, match="only strings"):
        score_texts(WordEncoder(), "a", ["a", 3])


def test_sync_and_async_have_the_same_signature():
    one, other = WeftReranker.compress_documents, WeftReranker.acompress_documents
    assert [*inspect.signature(one).parameters.values()] == [
        *inspect.signature(other).parameters.values()
    ]
