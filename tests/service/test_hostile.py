"""Hostile requests: each gets 4xx with a reason, and not a file comes or goes."""

import json
import socket

import httpx
import pytest
from running_service import ADMIN, nested, refused, running, tree

JSON = {"Content-Type": "application/json"}
TRAVERSALS = [
    *("..", ".", "../x", "..%2fx", "%2e%2e", "%2e%2e%2fx", "%2e%2e%2f%2e%2e%2fetc", "..%5cx"),
    *("%00", "a%00b", "%00../x", "x%0d%0aSet-Cookie:a=b", "x" * 64, "x" * 10_000),
    *(".weft-service", ".hidden", "-x", "_x", "UPPER", "with%20space", "%c3%a9", "%ff%fe", "a.b"),
    *("a%2fb", "/etc/passwd", "%2fetc%2fpasswd", "con:", "~", "$HOME", "*", "a%252fb"),
]
NAMES = [
    *("../x", "..", ".", "", "/", "/abs", "a/b", "a\\b", "a\0b", "x" * 64, "x" * 10_000),
    *("é", "UP", ".weft-service", "-a", "_a", "a b", "a\n", "a.b", " a", "\ud7ff"),
]


@pytest.mark.parametrize("name", TRAVERSALS, ids=lambda name: name[:20])
def test_names_in_addresses_lead_nowhere(unchanged, guarded, name):
    documents = {"documents": [{"id": "x", "text": "x"}]}
    for method, path, body in (
        ("GET", "/v1/collections/{}", None),
        ("DELETE", "/v1/collections/{}", None),
        ("PUT", "/v1/collections/{}/documents", documents),
        ("POST", "/v1/collections/{}/search", {"query": "x"}),
        ("GET", "/v1/vector_stores/{}", None),
        ("POST", "/v1/vector_stores/{}", {"name": "x"}),
        ("DELETE", "/v1/vector_stores/{}", None),
        ("POST", "/v1/vector_stores/{}/search", {"query": "x"}),
        ("POST", "/v1/vector_stores/{}/files", {"file_id": "file-x"}),
        ("GET", "/v1/vector_stores/threads/files/{}", None),
        ("DELETE", "/v1/vector_stores/threads/files/{}", None),
        ("GET", "/v1/vector_stores/threads/files/{}/content", None),
        ("GET", "/v1/vector_stores/threads/file_batches/{}", None),
        ("GET", "/v1/files/{}", None),
        ("GET", "/v1/files/{}/content", None),
        ("DELETE", "/v1/files/{}", None),
    ):
        # By hand: a client would tidy the path up.
        status, answer = raw(guarded[1].url, method, path.format(name), body)
        assert 400 <= status < 500, (method, path, status, answer)
        assert answer


def raw(url, method, path, body):
    host, port = url.removeprefix("http://").split(":")
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {ADMIN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(head.encode() + data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"set-cookie" not in head.lower()
    return int(head.split()[1]), rest


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
def test_names_in_bodies_lead_nowhere(unchanged, name):
    refused(unchanged.post("/v1/collections", json={"name": name}))
    refused(unchanged.post("/v1/embeddings", json={"model": name, "input": "x"}))
    refused(unchanged.post("/v1/vector_stores/threads/files", json={"file_id": name}))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "x/" * 9])
def test_bodies_of_another_kind(unchanged, kind):
    path = "/v1/collections/threads/documents"
    data = json.dumps({"documents": [{"id": "x", "text": "x"}]}).encode()
    answer = unchanged.put(path, content=data, headers={"Content-Type": kind})
    assert answer.status_code == 415
    refused(answer)


@pytest.mark.parametrize(
    "document",
    [
        {"id": "", "text": "x"},
        {"id": "x" * 513, "text": "x"},
        {"id": "é" * 300, "text": "x"},
        {"id": "a\0b", "text": "x"},
        {"id": 7, "text": "x"},
        {"id": "x", "text": ""},
        {"id": "x", "text": "a\0b"},
        {"id": "x", "text": None},
        {"id": "x", "text": "x" * 1_000_001},
        {"id": "x", "text": "x", "metadata": {"a": "y" * 70_000}},
        {"id": "x", "text": "x", "metadata": {"a": 10**30}},
        {"id": "x", "text": "x", "metadata": {"": 1}},
        {"id": "x", "text": "x", "metadata": nested(12, {"a": 1})},
        {"id": "x", "text": "x", "metadata": []},
        {"id": "x", "text": "x", "language": 7},
        {"id": "x", "text": "x", "vector": [1]},
        {"id": "x", "embeddings": [[2.0] * 32]},
        {"id": "x", "embeddings": [[0.0] * 32]},
        {"id": "x", "embeddings": ""},
        "just a text",
    ],
    ids=lambda document: json.dumps(document)[:40],
)
def test_documents_that_cannot_be_kept_take_their_company_along(unchanged, document):
    path = "/v1/collections/threads/documents"
    good = {"id": "good", "text": "a good one"}
    for method in ("POST", "PUT"):
        refused(unchanged.request(method, path, json={"documents": [good, document]}))
    refused(unchanged.put(path, json={"documents": [good, good]}))
    refused(unchanged.put(path, json={"documents": [good] * 1001}))
    refused(unchanged.put(path, json={"documents": []}))
    refused(unchanged.put(path, json={"documents": [good], "queue": True}))


@pytest.mark.parametrize(
    "query",
    ["?k=5", "?api_key=x", "?%00=1", "?a[]=b", "?limit=10&limit=20", "?" + "x" * 5000],
)
def test_parameters_in_addresses_that_nobody_knows(unchanged, query):
    refused(unchanged.get(f"/v1/collections/threads{query}"))
    refused(unchanged.get("/v1/vector_stores?limit=0"))
    refused(unchanged.get("/v1/vector_stores?limit=abc"))
    refused(unchanged.get("/v1/vector_stores?after=../../x"))


def test_methods_and_routes_that_are_not_there(unchanged):
    for method in ("PATCH", "OPTIONS", "TRACE", "PUT"):
        refused(unchanged.request(method, "/v1/collections"))
    for path in ("/", "/v1", "/v1/collections/", "//v1/collections", "/v1/collections/a/b/c/d"):
        refused(unchanged.get(path))


def test_bodies_that_are_too_large_are_not_read(unchanged, guarded):
    path = "/v1/collections/threads/documents"
    chunk = b" " * 2**20

    def endless():
        while True:
            yield chunk

    for content in (b" " * (33 * 2**20), endless()):
        try:
            answer = unchanged.put(path, content=content, headers=JSON)
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            continue  # closed while the client still wrote
        assert answer.status_code == 413
        refused(answer)
    host, port = guarded[1].url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(
            f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n"
            "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 413 " in answer and b"33,554,432 bytes" in answer


def test_heads_without_an_end_are_cut_off(unchanged, guarded):
    host, port = guarded[1].url.removeprefix("http://").split(":")
    for begin, more in (
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 2**14),
        (b"GET /", b"a" * 2**14),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 3000),
    ):
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall(begin)
            sent = 0
            try:
                while sent < 2**24:
                    connection.sendall(more)
                    sent += len(more)
            except OSError:
                pass
            assert sent < 2**24


@pytest.mark.parametrize(
    "form",
    [
        {"files": {"file": ("a.txt", b"x")}},
        {"data": {"purpose": "assistants"}},
        {"files": {"file": ("a.txt", b"x")}, "data": {"purpose": "fine-tune"}},
        {"files": {"file": ("a.txt", b"x")}, "data": {"purpose": "assistants", "more": "1"}},
        {"files": [("file", ("a", b"x")), ("file", ("b", b"y"))], "data": {"purpose": "user_data"}},
        {"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data"}},
        {"json": {"file": "x", "purpose": "assistants"}},
    ],
    ids=str,
)
def test_forms_that_are_no_upload(unchanged, form):
    refused(unchanged.post("/v1/files", **form))


def test_a_files_name_leads_nowhere(guarded):
    outside, _, client = guarded
    before = {path for path in tree(outside) if ".weft-service" not in path}
    for name in ("../../evil.txt", "/etc/passwd", "a\\..\\b", "x" * 3000, "né.txt"):
        upload = client.post(
            "/v1/files", data={"purpose": "assistants"}, files={"file": (name, b"x")}
        )
        assert upload.status_code == 200, (name, upload.text)
        content = client.get(f"/v1/files/{upload.json()['id']}/content")
        assert content.headers["content-type"] == "application/octet-stream"
        assert client.delete(f"/v1/files/{upload.json()['id']}").status_code == 200
    assert {path for path in tree(outside) if ".weft-service" not in path} == before
    assert not list((outside / "srv" / "root" / ".weft-service" / "files").iterdir())


def test_too_many_requests_at_once_are_told_to_come_again(tmp_path):
    from weft.integrations.service import ServiceLimits

    limits = ServiceLimits(requests=1, body_seconds=1)
    with running(tmp_path / "root", limits=limits) as service, service.client() as client:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 30) as slow:
            slow.sendall(
                f"POST /v1/collections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
            )
            answers = [client.get("/v1/collections").status_code for _ in range(3)]
            assert set(answers) <= {200, 503} and client.get("/healthz").status_code == 200
            late = b"".join(iter(lambda: slow.recv(65536), b""))
            assert b" 408 " in late
        assert client.get("/v1/collections").status_code == 200
