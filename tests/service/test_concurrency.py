"""Many clients at once: writers and readers of a collection, and one that goes under them."""

import threading

from running_service import fill, running

from weft import Index

ROUNDS = 4


def crowd(service, works):
    """Run functions in threads, each with a client of its own, until the event is set."""
    ending, seen = threading.Event(), []

    def run(work):
        with service.client() as client:
            while not ending.is_set():
                seen.append(work(client))

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    return ending, threads, seen


def test_a_collection_that_is_removed_and_made_again_under_its_users(tmp_path):
    path = "/v1/collections/threads"
    put = {"documents": [{"id": "more", "text": "one more thread"}]}
    works = [
        lambda c: c.post(f"{path}/search", json={"query": "the warp"}),
        lambda c: c.post("/v1/vector_stores/threads/search", json={"query": "the weft"}),
        lambda c: c.put(f"{path}/documents", json=put),
        lambda c: c.post(f"{path}/documents/export", json={}),
        lambda c: c.get(path),
    ]
    with running(tmp_path / "root") as service, service.client() as client:
        fill(client)
        ending, threads, seen = crowd(service, works)
        for _ in range(ROUNDS):
            assert client.delete(path).status_code == 200
            fill(client)
        ending.set()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in seen} <= {200, 404, 409}, [
            answer.text for answer in seen if answer.status_code >= 500
        ]
        assert client.post(f"{path}/search", json={"query": "the warp"}).status_code == 200
    assert Index.open(tmp_path / "root" / "threads").check().ok


def test_what_is_written_is_found_by_the_writers_next_search(tmp_path):
    path = "/v1/collections/threads"
    with running(tmp_path / "root") as service, service.client() as client:
        fill(client)
        search = {"query": "the warp", "k": 1000, "fields": []}
        ending, threads, seen = crowd(
            service, [lambda c: c.post(f"{path}/search", json=search)] * 8
        )
        for n in range(20):
            body = {"documents": [{"id": f"n{n}", "text": f"warp number {n}"}]}
            assert client.post(f"{path}/documents", json=body).status_code == 201
            found = client.post(f"{path}/search", json=search).json()["hits"]
            assert f"n{n}" in {hit["id"] for hit in found} and len(found) == n + 4
        ending.set()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in seen} == {200}
        for answer in seen:  # each saw one generation, whole
            assert len(answer.json()["hits"]) == answer.json()["generation"] + 1
