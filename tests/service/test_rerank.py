"""The official Cohere client, both versions, against a running service; NumPy as oracle."""

import cohere
import numpy as np
import pytest
from running_service import ADMIN
from word_encoder import WordEncoder

QUERY = "the weft and warp"
TEXTS = ["a violin has strings", "the weft is drawn through the warp", "warp", "the reed"]


def oracle():
    """Mean best dot product of the query's vectors, by hand."""
    encoder = WordEncoder()
    query = encoder.encode_queries([QUERY])[0]
    means = [
        float((query @ passage.T).max(axis=1).mean()) for passage in encoder.encode_passages(TEXTS)
    ]
    order = sorted(range(len(TEXTS)), key=lambda n: -means[n])
    return [(n, pytest.approx(np.clip(means[n], 0, 1), abs=1e-5)) for n in order]


def pairs(answer):
    return [(result.index, result.relevance_score) for result in answer.results]


def test_version_two(service):
    client = cohere.ClientV2(ADMIN, base_url=service.url)
    answer = client.rerank(model="default", query=QUERY, documents=TEXTS)
    assert pairs(answer) == oracle()
    assert answer.meta.api_version.version == "2" and answer.id
    top = client.rerank(model="default", query=QUERY, documents=TEXTS, top_n=2)
    assert pairs(top) == oracle()[:2]


def test_version_one(service):
    client = cohere.Client(ADMIN, base_url=service.url)
    documents = [{"text": text, "id": f"d{n}"} for n, text in enumerate(TEXTS)]
    answer = client.rerank(
        model="default", query=QUERY, documents=documents, return_documents=True, top_n=9
    )
    assert pairs(answer) == oracle()
    assert answer.results[0].document.text == TEXTS[1]
    assert [r.document.text for r in answer.results] == [TEXTS[r.index] for r in answer.results]


def test_as_jina_asks(client):
    body = {"model": "default", "query": QUERY, "documents": TEXTS, "top_n": 1}
    answer = client.post("/v1/rerank", json={**body, "return_documents": True}).json()
    assert answer["model"] == "default"
    assert answer["results"][0]["document"] == {"text": TEXTS[1]}
    documents = [{"id": 7, "text": "weft"}, {"id": "b", "text": "reed"}]
    named = client.post("/v1/rerank", json={**body, "documents": documents, "top_n": 2}).json()
    assert [result["id"] for result in named["results"]] == [7, "b"]


@pytest.mark.parametrize(
    "change",
    [
        {"documents": []},
        {"documents": [1]},
        {"documents": [{"title": "no text"}]},
        {"documents": ["nul \0"]},
        {"query": ""},
        {"query": None},
        {"top_n": 0},
        {"top_n": True},
        {"max_tokens_per_doc": 10},
        {"rank_fields": ["title"]},
        {"model": "rerank-v3.5"},
        {"documents": ["x"] * 1001},
    ],
)
def test_what_cannot_be_reranked_is_refused(client, change):
    body = {"model": "default", "query": QUERY, "documents": TEXTS, **change}
    answer = client.post("/v1/rerank", json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]


def test_the_cohere_client_raises_its_own_errors(service):
    with pytest.raises(cohere.UnauthorizedError):
        cohere.ClientV2("wrong", base_url=service.url).rerank(
            model="default", query="x", documents=["y"]
        )
    with pytest.raises(cohere.NotFoundError) as unknown:
        cohere.ClientV2(ADMIN, base_url=service.url).rerank(
            model="rerank-v3.5", query="x", documents=["y"]
        )
    assert "default" in unknown.value.body["detail"]
