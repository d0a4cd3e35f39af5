"""`weft serve` itself: several processes on one folder, their end, and what it refuses to begin."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from running_service import ADMIN

WEFT = [sys.executable, "-c", "from weft.integrations.cli import main; main()"]


@contextmanager
def served(root, *options, log):
    """The command on a free port; the client waits until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "WEFT_API_KEY": ADMIN, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*WEFT, "serve", root, "--port", str(port), *options], env=environment, stderr=errors
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            client.headers["Authorization"] = f"Bearer {ADMIN}"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    continue
            yield process, client
    finally:
        process.kill()
        process.wait()


def ask_anew(client, method, path, **options):
    """By a connection of its own, so that any of the processes may answer."""
    headers = {"Connection": "close"}
    return client.request(method, path, headers=headers, **options)


def test_two_processes_are_one_service(tmp_path):
    log = tmp_path / "log"
    with served(tmp_path / "root", "--processes", "2", log=log) as (process, client):
        assert ask_anew(client, "POST", "/v1/collections", json={"name": "both", "dim": 2}).json()
        documents = "/v1/collections/both/documents"
        search = {"embeddings": [[1.0, 0.0]], "k": 100, "fields": []}
        for n in range(12):
            body = {"documents": [{"id": str(n), "embeddings": [[1.0, 0.0]]}]}
            assert ask_anew(client, "POST", documents, json=body).status_code == 201
            for _ in range(3):  # found at once, whichever process is asked
                answer = ask_anew(client, "POST", "/v1/collections/both/search", json=search)
                assert len(answer.json()["hits"]) == n + 1
        assert ask_anew(client, "DELETE", "/v1/collections/both").status_code == 200
        for _ in range(6):
            answer = ask_anew(client, "POST", "/v1/collections/both/search", json=search)
            assert answer.status_code == 404, answer.text
        counted = ask_anew(client, "GET", "/metrics").text
        assert 'route="/v1/collections/{collection}/documents",status="201"} 12.0' in counted
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    requests = [line for line in lines if line["message"] == "request"]
    assert len({line["request_id"] for line in requests}) == len(requests) > 50
    assert ADMIN not in log.read_text()


def test_what_is_under_way_is_answered_before_the_end(tmp_path):
    with served(tmp_path / "root", log=tmp_path / "log") as (process, client):
        client.post("/v1/collections", json={"name": "texts"})
        text = "a long text about many things. " * 200
        body = {"documents": [{"id": str(n), "text": text} for n in range(2)]}
        answers = []
        path = "/v1/collections/texts/documents"
        writer = threading.Thread(target=lambda: answers.append(client.put(path, json=body)))
        writer.start()
        metrics = "weft_http_requests_in_progress 2.0"
        with httpx.Client(base_url=client.base_url, headers=client.headers) as other:
            while metrics not in other.get("/metrics").text and writer.is_alive():
                continue
        process.send_signal(signal.SIGTERM)
        writer.join()
        assert answers[0].status_code == 200
        assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "0.0.0.0"], "no API key"),
        (["--key-file", "nowhere.toml"], "cannot be read"),
        (["--log-format", "xml"], "json or text"),
    ],
)
def test_what_it_refuses_to_begin(tmp_path, options, reason):
    environment = {name: value for name, value in os.environ.items() if name != "WEFT_API_KEY"}
    done = subprocess.run(
        [*WEFT, "serve", tmp_path / "root", *options],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert reason in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "root").exists()
