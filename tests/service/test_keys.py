"""Keys: who may do what, and that without one nothing is learnt or written."""

import pytest
from running_service import ADMIN, READER, WRITER, fill, running

from weft.engine.errors import InvalidParameterError
from weft.integrations.service import Key, ServiceSettings, read_keys, serve

SEARCH = ("POST", "/v1/collections/threads/search", {"query": "warp"})
UPSERT = ("PUT", "/v1/collections/threads/documents", {"documents": [{"id": "n", "text": "new"}]})
CREATE = ("POST", "/v1/collections", {"name": "more"})
DELETE = ("DELETE", "/v1/collections/threads", None)
STORE = ("POST", "/v1/vector_stores", {})
EMBED = ("POST", "/v1/embeddings", {"input": "x", "model": "default"})


def ask(client, request):
    method, path, body = request
    return client.request(method, path, json=body)


def state(service):
    return sorted((str(p), p.stat().st_mtime_ns) for p in service.root.rglob("manifest.*"))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong-key-of-the-tests",
        f"Bearer {ADMIN}x",
        f"Bearer {ADMIN[:-1]}",
        f"Basic {ADMIN}",
        ADMIN,
        "Bearer " + "x" * 5000,
    ],
)
def test_a_wrong_or_missing_key_opens_nothing(service, client, threads, authorization):
    before = state(service)
    headers = {} if authorization is None else {"Authorization": authorization}
    with service.client(
        None,
    ) as stranger:
        stranger.headers.update(headers)
        for request in (SEARCH, UPSERT, CREATE, DELETE, STORE, EMBED, ("GET", "/nothing", None)):
            refused = ask(stranger, request)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert "API key" in refused.text
    assert state(service) == before


def test_keys_open_their_collections_and_no_others(service, client, threads):
    fill(client, "other")
    fill(client, "third")
    with service.client(READER) as reader, service.client(WRITER) as writer:
        assert ask(reader, SEARCH).status_code == 200
        for refused in (UPSERT, CREATE, DELETE, STORE):
            assert ask(reader, refused).status_code == 403
        assert ask(writer, UPSERT).status_code == 200
        for refused in (CREATE, DELETE, STORE):
            assert ask(writer, refused).status_code == 403
        for name in ("third", "not-there"):  # alike: what is there is not told
            assert writer.get(f"/v1/collections/{name}").status_code == 403
        names = [c["name"] for c in writer.get("/v1/collections").json()["collections"]]
        assert names == ["other", "threads"]
        stores = writer.get("/v1/vector_stores").json()["data"]
        assert sorted(store["id"] for store in stores) == ["other", "threads"]
        models = [m["id"] for m in reader.get("/v1/models").json()["data"]]
        assert "threads" in models and "third" not in models
        body = {"model": "third", "query": "x", "documents": ["y"]}
        assert reader.post("/v1/rerank", json=body).status_code == 404


def test_files_are_their_keys_own(service, client, threads):
    form = {"purpose": "assistants"}
    with service.client(WRITER) as writer, service.client(READER) as reader:
        file = writer.post("/v1/files", data=form, files={"file": ("a.txt", b"hello")}).json()["id"]
        assert reader.get(f"/v1/files/{file}").status_code == 404
        assert reader.get(f"/v1/files/{file}/content").status_code == 404
        assert reader.delete(f"/v1/files/{file}").status_code == 404
        assert reader.get("/v1/files").json()["data"] == []
        refused = reader.post("/v1/files", data=form, files={"file": ("a.txt", b"hello")})
        assert refused.status_code == 403
        assert writer.get(f"/v1/files/{file}/content").content == b"hello"
        assert client.get(f"/v1/files/{file}").status_code == 200


def test_without_keys_a_page_elsewhere_may_not_ask(tmp_path):
    with running(tmp_path / "root", keys=()) as service, service.client(None) as anybody:
        assert anybody.get("/v1/collections").status_code == 200
        for headers in (
            {"Origin": "https://example.org"},
            {"Origin": "null"},
            {"Host": "example.org"},
            {"Host": "127.0.0.1.example.org"},
            {"Host": "[::1"},
        ):
            assert anybody.get("/v1/collections", headers=headers).status_code == 403
        own = {"Origin": service.url}
        assert anybody.get("/v1/collections", headers=own).status_code == 200


def test_keys_are_read_from_toml(tmp_path):
    path = tmp_path / "keys.toml"
    digest = Key.of(WRITER).sha256
    path.write_text(
        f'[[key]]\nkey = "{ADMIN}"\n'
        f'[[key]]\nname = "w"\nsha256 = "{digest}"\ncollections = ["a"]\nwrite = false\n'
    )
    admin, writer = read_keys(path)
    assert (admin.name, admin.sha256, admin.collections) == ("key-1", Key.of(ADMIN).sha256, None)
    assert (writer.name, writer.sha256, writer.write) == ("w", digest, False)
    assert writer.collections == {"a"}
    settings = ServiceSettings(tmp_path, (admin, writer))
    assert ServiceSettings.from_json(settings.to_json()) == settings
    assert ADMIN not in settings.to_json()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[key]]",
        '[[key]]\nkey = "short"',
        '[[key]]\nkey = "with spaces in the midst"',
        f'[[key]]\nkey = "{ADMIN}"\ncollections = []',
        f'[[key]]\nkey = "{ADMIN}"\ncollections = ["../up"]',
        f'[[key]]\nkey = "{ADMIN}"\nroles = ["all"]',
        f'[[key]]\nkey = "{ADMIN}"\nsha256 = "00"',
        '[[key]]\nsha256 = "00"',
        "not toml",
    ],
)
def test_key_files_that_cannot_be_used_are_refused(tmp_path, text):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(InvalidParameterError):
        read_keys(path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_other_addresses_need_a_key(tmp_path, host):
    with pytest.raises(InvalidParameterError, match="no API key"):
        serve(ServiceSettings(tmp_path), host=host)
