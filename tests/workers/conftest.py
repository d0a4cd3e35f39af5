"""An index with a queue, and a real Redis."""

import campaigns
import pytest
from redis_server import RedisServer
from word_encoder import WordEncoder

import weft
from weft.workers import Client
from weft.workers.context import IngestContext


@pytest.fixture
def index(tmp_path):
    with weft.Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        yield index


@pytest.fixture
def client(index):
    with Client(index) as client:
        yield client


@pytest.fixture
def context(index):
    with IngestContext(index.path, encoder=WordEncoder()) as context:
        yield context


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


def pytest_terminal_summary(terminalreporter):
    """What the campaigns have counted, once."""
    if campaigns.lines:
        terminalreporter.section("campaigns" + ("" if campaigns.FULL else " (short)"))
        for line in campaigns.lines:
            terminalreporter.line(line)
        campaigns.lines.clear()
