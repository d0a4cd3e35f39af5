"""Documents by way of the workers' queue, with something that drains it."""

import time

import pytest
from adapter_indexes import draining
from running_service import fill, running
from word_encoder import WordEncoder


@pytest.fixture(scope="module")
def queued(tmp_path_factory):
    root = tmp_path_factory.mktemp("queue") / "root"
    with running(root, queue=True) as service, service.client() as client:
        fill(client)
        yield service, client


def settled(client, id):
    """A submission's state, once nothing more will happen to it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = client.get(f"/v1/collections/threads/submissions/{id}").json()
        if status["state"] in ("committed", "failed"):
            return status
    raise TimeoutError(status)


def test_what_is_queued_is_durable_and_then_committed_in_its_order(queued):
    service, client = queued
    documents = "/v1/collections/threads/documents"
    body = {"documents": [{"id": "new", "text": "a shuttle"}], "queue": True}
    first = client.put(documents, json=body)
    assert first.status_code == 202
    second = client.post(f"{documents}/delete", json={"ids": ["warp"], "queue": True})
    ids = [*first.json()["submissions"], *second.json()["submissions"]]
    state = client.get(f"/v1/collections/threads/submissions/{ids[0]}").json()["state"]
    assert state == "queued" and client.get(f"{documents}/new").status_code == 404
    with draining(service.root / "threads", WordEncoder()):
        assert [settled(client, id)["state"] for id in ids] == ["committed", "committed"]
    assert client.get(f"{documents}/new").json()["text"] == "a shuttle"
    assert client.get(f"{documents}/warp").status_code == 404


def test_what_cannot_be_queued_is_refused_before_anything_is(queued):
    service, client = queued
    documents = "/v1/collections/threads/documents"
    good = {"id": "good", "text": "good"}
    before = sorted((service.root / "threads" / "inbox").iterdir())
    for bad in ({"id": "bad", "text": ""}, {"text": "x"}, {"id": "b", "embeddings": [[1.0] * 32]}):
        body = {"documents": [good, bad], "queue": True}
        assert client.put(documents, json=body).status_code == 400
    body = {"documents": [good], "queue": True}
    assert client.post(documents, json=body).status_code == 400
    gone = {"filter": {"year": 1}, "queue": True}
    assert client.post(f"{documents}/delete", json=gone).status_code == 400
    assert sorted((service.root / "threads" / "inbox").iterdir()) == before
    for id in ("9" * 16, "x", "...", "1" * 400):
        answer = client.get(f"/v1/collections/threads/submissions/{id}")
        assert answer.status_code == 404
