"""The HTTP service, really running: uvicorn on a free port, in a thread of the tests."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import uvicorn
from word_encoder import WordEncoder

from weft.integrations.service import Key, ServiceSettings, make_app
from weft.integrations.service.protocol import BoundedProtocol

ADMIN = "admin-key-of-the-tests"
READER = "reader-key-of-the-tests"
WRITER = "writer-key-of-the-tests"

KEYS = (
    Key.of(ADMIN, "admin"),
    Key.of(READER, "reader", collections=frozenset({"threads"}), write=False),
    Key.of(WRITER, "writer", collections=frozenset({"threads", "other"})),
)

THREADS = [
    {"id": "warp", "text": "Warp threads are held taut on the loom.", "metadata": {"year": 1801}},
    {"id": "weft", "text": "The weft is drawn through the warp.", "metadata": {"year": 1785}},
    {"id": "reed", "text": "The reed beats every thread into place.", "metadata": {"year": 1920}},
]


class RunningService:
    def __init__(self, url, app):
        self.url = url
        self.app = app

    @property
    def root(self):
        return self.app.state.service.settings.root

    def client(self, key=ADMIN, **options):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)


@contextmanager
def running(root, encoder=None, **settings):
    """A service on a free port; by default with keys and the cheap encoder."""
    defaults = ServiceSettings(Path(root), KEYS, maintenance_seconds=0)
    app = make_app(replace(defaults, **settings), encoder=encoder or WordEncoder())
    config = uvicorn.Config(app, port=0, http=BoundedProtocol, ws="none", log_config=None)
    server = uvicorn.Server(config)
    started = threading.Event()

    class Announced(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            started.set()

    server.__class__ = Announced
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(60)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield RunningService(f"http://127.0.0.1:{port}", app)
    finally:
        server.should_exit = True
        thread.join()


def fill(client, name="threads", documents=THREADS):
    """Make a collection of a few documents."""
    assert client.post("/v1/collections", json={"name": name}).status_code == 201
    put = client.put(f"/v1/collections/{name}/documents", json={"documents": documents})
    assert put.status_code == 200, put.text
    return put.json()["generation"]


def nested(depth, innermost):
    for _ in range(depth):
        innermost = {"$not": innermost}
    return innermost


def tree(folder):
    """All that lies below a folder, but for marks of readers and locks."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "pins" not in path.parts and "locks" not in path.parts
    }


def refused(answer):
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    body = answer.json()
    reason = body["error"]["message"] if "error" in body else body["detail"]
    assert reason and len(reason) < 2000
    return reason
