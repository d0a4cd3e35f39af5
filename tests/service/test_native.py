"""Weft's own API against a running service, with the engine itself as oracle."""

import base64
import json

import numpy as np
import pytest
from running_service import THREADS, fill, running
from word_encoder import WordEncoder

from weft import Index

QUERY = "drawn through the warp"


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """The same documents in an index of our own."""
    with Index.create(tmp_path_factory.mktemp("oracle") / "index", encoder=WordEncoder()) as index:
        index.add(
            [document["text"] for document in THREADS],
            ids=[document["id"] for document in THREADS],
            metadata=[document["metadata"] for document in THREADS],
        )
        yield index


def in_base64(array):
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def expected(hits):
    return [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in hits]


def found(answer):
    assert answer.status_code == 200, answer.text
    return [(hit["id"], hit["score"]) for hit in answer.json()["hits"]]


def search(client, **body):
    return client.post("/v1/collections/threads/search", json=body)


def test_a_text_a_base64_query_and_lists_find_what_the_engine_finds(client, threads, oracle):
    vectors = oracle.encode_queries([QUERY])[0]
    wanted = expected(oracle.search(QUERY, 2))
    assert found(search(client, query=QUERY, k=2)) == wanted
    assert found(search(client, embeddings=in_base64(vectors), k=2)) == wanted
    assert found(search(client, embeddings=vectors.tolist(), k=2)) == wanted


def test_hits_bring_text_metadata_and_passage_or_what_was_asked_for(client, threads):
    hit = search(client, query=QUERY, k=1).json()["hits"][0]
    text = THREADS[1]["text"]
    passage = {"ordinal": 0, "start": 0, "end": len(text), "text": text}
    assert (hit["text"], hit["metadata"], hit["passage"]) == (text, {"year": 1785}, passage)
    bare = search(client, query=QUERY, k=1, fields=["metadata"]).json()["hits"][0]
    assert set(bare) == {"id", "score", "metadata"}


def test_filters_and_search_parameters_reach_the_engine(client, threads, oracle):
    filter = {"year": {"$gt": 1790}}
    wanted = expected(oracle.search(QUERY, 5, filter=filter, effort="exact"))
    assert found(search(client, query=QUERY, k=5, filter=filter, effort="exact")) == wanted
    passages = search(client, query=QUERY, group_by="passage", k=5).json()["hits"]
    assert len(passages) == 3


@pytest.mark.parametrize("hybrid", ["rrf", "weighted", 0.3, {"fusion": "rrf", "rank_constant": 9}])
def test_hybrid_searches_are_the_engines(client, threads, oracle, hybrid):
    wanted = expected(oracle.search(QUERY, 3, hybrid=hybrid))
    assert found(search(client, query=QUERY, k=3, hybrid=hybrid)) == wanted
    vectors = in_base64(oracle.encode_queries([QUERY])[0])
    by_vectors = {"embeddings": vectors, "k": 3, "hybrid": hybrid}
    assert found(search(client, **by_vectors, query_text=QUERY)) == wanted
    assert search(client, **by_vectors).status_code == 400
    queries = [QUERY, {"embeddings": vectors, "query_text": QUERY}]
    body = {"queries": queries, "k": 3, "hybrid": hybrid}
    batch = client.post("/v1/collections/threads/search/batch", json=body).json()["results"]
    assert [[hit["id"] for hit in hits] for hits in batch] == [[id for id, _ in wanted]] * 2


def test_a_batch_is_the_single_searches_on_one_generation(client, threads):
    queries = [QUERY, {"query": "held taut"}]
    answer = client.post(
        "/v1/collections/threads/search/batch", json={"queries": queries, "k": 3}
    ).json()
    singles = [search(client, query=q, k=3).json()["hits"] for q in (QUERY, "held taut")]
    assert answer["generation"] == threads
    for batch, single in zip(answer["results"], singles, strict=True):
        assert [hit["id"] for hit in batch] == [hit["id"] for hit in single]


def test_streams_are_the_same_answers_in_lines(client, threads):
    whole = search(client, query=QUERY, k=3).json()["hits"]
    lines = search(client, query=QUERY, k=3, stream=True)
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == whole
    batch = client.post(
        "/v1/collections/threads/search/batch",
        json={"queries": [QUERY, "reed"], "k": 1, "stream": True},
    )
    assert [json.loads(line)["query"] for line in batch.text.splitlines()] == [0, 1]
    export = client.post("/v1/collections/threads/documents/export", json={})
    documents = [json.loads(line) for line in export.text.splitlines()]
    assert [{k: d[k] for k in ("id", "text", "metadata")} for d in documents] == THREADS


def test_an_explanation_adds_up_to_the_score(client, threads, oracle):
    wanted = oracle.explain(QUERY, "weft")
    body = {"query": QUERY, "id": "weft"}
    answer = client.post("/v1/collections/threads/explain", json=body).json()
    assert answer["total"] == pytest.approx(wanted.total)
    assert [m["passage_token"] for m in answer["matches"]] == [
        m.passage_token.text for m in wanted.matches
    ]
    missing = client.post("/v1/collections/threads/explain", json={**body, "id": "none"})
    assert missing.status_code == 404


def test_documents_are_added_replaced_read_and_removed(client):
    assert client.post("/v1/collections", json={"name": "life"}).status_code == 201
    documents = "/v1/collections/life/documents"
    slashed = {"id": "a/b ?#%/é", "text": "one two three", "metadata": {"deep": {"x": [1]}}}
    assert client.post(documents, json={"documents": [slashed]}).status_code == 201
    again = client.post(documents, json={"documents": [slashed]})
    assert (again.status_code, again.json()["code"]) == (409, "duplicate_document")
    new = {**slashed, "text": "four five six"}
    assert client.put(documents, json={"documents": [new]}).json()["replaced"] == 1
    path = f"{documents}/a%2Fb%20%3F%23%25%2F%C3%A9"
    assert client.get(path).json() == {**new, "language": None}
    several = client.post(f"{documents}/get", json={"ids": ["none", slashed["id"]]}).json()
    assert [d and d["text"] for d in several["documents"]] == [None, "four five six"]
    assert client.delete(path).json()["deleted"] == [slashed["id"]]
    assert client.get(path).status_code == client.delete(path).status_code == 404
    fresh = client.post(documents, json={"documents": [{"text": "x y"}, {"text": "z"}]}).json()
    assert len(set(fresh["ids"])) == 2 and all(fresh["ids"])
    gone = client.post(f"{documents}/delete", json={"ids": [*fresh["ids"], "no"]}).json()
    assert (gone["deleted"], gone["missing"]) == (fresh["ids"], ["no"])
    assert client.get("/v1/collections/life").json()["stats"]["n_documents"] == 0


def test_documents_are_removed_by_filter(client):
    fill(client, "sifted")
    body = {"filter": {"year": {"$lt": 1900}}}
    removed = client.post("/v1/collections/sifted/documents/delete", json=body).json()
    assert sorted(removed["deleted"]) == ["warp", "weft"]
    assert client.post("/v1/collections/sifted/documents/delete", json=body).json()["deleted"] == []


@pytest.mark.parametrize("form", ["base64", "lists"])
def test_a_collection_of_embeddings_alone(client, form):
    name = f"vectors-{form}"
    assert client.post("/v1/collections", json={"name": name, "dim": 4}).status_code == 201
    rows = np.eye(4, dtype=np.float32)
    shown = in_base64 if form == "base64" else np.ndarray.tolist
    documents = [
        {"id": str(n), "embeddings": shown(rows[n : n + 2]), "metadata": {"n": n}} for n in range(3)
    ]
    put = client.put(f"/v1/collections/{name}/documents", json={"documents": documents})
    assert put.status_code == 200, put.text
    body = {"embeddings": shown(rows[:1]), "k": 2}
    hits = client.post(f"/v1/collections/{name}/search", json=body).json()["hits"]
    assert [(hit["id"], hit["score"]) for hit in hits] == [("0", 1.0), ("1", 0.0)]
    text = client.post(f"/v1/collections/{name}/search", json={"query": "no encoder"})
    assert (text.status_code, text.json()["code"]) == (400, "invalid_query")


def test_a_removed_collection_is_gone_and_its_name_free(client, service):
    fill(client, "short-lived")
    assert client.delete("/v1/collections/short-lived").json()["deleted"]
    assert client.get("/v1/collections/short-lived").status_code == 404
    assert not (service.root / "short-lived").exists()
    fill(client, "short-lived", THREADS[:1])
    stats = client.get("/v1/collections/short-lived").json()["stats"]
    assert stats["n_documents"] == 1


def test_one_index_is_served_as_one_collection(tmp_path):
    with Index.create(tmp_path / "My Index", encoder=WordEncoder()) as index:
        index.add(["a lone text"], ids=["lone"])
    with running(tmp_path / "My Index", keys=()) as service, service.client(None) as client:
        assert client.get("/v1/collections").json() == {"collections": [{"name": "my-index"}]}
        hits = client.post("/v1/collections/my-index/search", json={"query": "lone"}).json()["hits"]
        assert hits[0]["id"] == "lone"
        for refused in (
            client.post("/v1/collections", json={"name": "more"}),
            client.delete("/v1/collections/my-index"),
            client.post("/v1/vector_stores", json={}),
        ):
            assert refused.status_code == 403
            assert "single_index" in refused.text


def test_health_readiness_metrics_and_request_ids(client, service):
    with service.client(None) as anybody:
        assert anybody.get("/healthz").json() == {"status": "ok"}
        assert anybody.get("/readyz").json() == {"status": "ready"}
        assert anybody.get("/openapi.json").status_code == 200
        assert anybody.get("/metrics").status_code == 401
    given = client.get("/healthz", headers={"X-Request-ID": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    made = client.get("/healthz", headers={"X-Request-ID": "not usable: <b>"})
    assert made.headers["x-request-id"].startswith("req_")
    text = client.get("/metrics").text
    assert 'weft_http_requests_total{method="GET",route="/healthz",status="200"}' in text
