"""The page about the service: its commands work, its options and limits are the real ones."""

import re
import shlex
from pathlib import Path

import typer
from running_service import running

from weft.integrations.cli.app import app
from weft.integrations.service import ServiceLimits, read_keys
from weft.integrations.service.protocol import HEAD_BYTES, HEAD_SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")


def requests():
    """Each `curl` of the page as method, path and body."""
    for command in re.findall(r"^curl (?:.*\\\n)*.*$", PAGE, re.M):
        words = shlex.split(command.replace("\\\n", " "))
        url = next(word for word in words if word.startswith("localhost:8000"))
        yield words[words.index("-X") + 1], url[14:], words[words.index("-d") + 1]


def test_the_commands_of_the_page_work(tmp_path):
    with running(tmp_path / "root", keys=()) as service, service.client(None) as client:
        answers = [
            client.request(method, path, content=body, headers={"content-type": "application/json"})
            for method, path, body in requests()
        ]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert answers[2].json()["hits"][0]["id"] == "warp"


def test_the_routes_of_the_page_are_there(tmp_path):
    with running(tmp_path / "root", keys=()) as service, service.client(None) as client:
        paths = client.get("/openapi.json").json()["paths"]
    for path in re.findall(r"`(?:POST |GET )?(/(?:v\d|healthz|readyz|metrics)[\w/]*)`", PAGE):
        assert path in paths, path
    for path in re.findall(r"(?:…|/\{c\})(/[a-z]+)", PAGE):
        assert any(path in known for known in paths), path


def test_its_options_are_those_of_the_command():
    group = typer.main.get_command(app)
    with group.make_context("weft", ["serve"], resilient_parsing=True) as context:
        command = group.get_command(context, "serve")
        known = {option for parameter in command.params for option in parameter.opts}
    used = PAGE.partition("## Measured")[0]
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", used)) <= known


def test_its_limits_are_the_defaults():
    limits = ServiceLimits()
    rows = {
        "body": f"{limits.body_bytes // 2**20} MiB",
        "uploaded file": f"{limits.file_bytes // 2**20} MiB",
        "request line and headers": f"{HEAD_BYTES // 1024} KiB",
        "hits of a query, of a request": f"{limits.k:,}, {limits.hits:,}",
        "documents or ids of a request": f"{limits.documents:,}",
        "queries of a batch": str(limits.queries),
        "texts to embed or rerank": f"{limits.texts:,}, of {limits.characters:,} characters",
        "requests under way in a process": str(limits.requests),
    }
    for name, value in rows.items():
        assert re.search(rf"^\| {name} \| {value} \|", PAGE, re.M), name
    assert f"within {limits.body_seconds:g} s" in PAGE and f"within {HEAD_SECONDS:g} s" in PAGE


def test_its_keys_can_be_read(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", PAGE, re.S)[1])
    (key,) = read_keys(path)
    assert (key.name, key.collections, key.write) == ("search-page", {"manuals"}, False)
