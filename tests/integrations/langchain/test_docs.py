"""The page about LangChain runs, block by block, and names what there is."""

import re
from pathlib import Path

import pytest
from adapter_indexes import draining
from langchain_core.documents import Document
from redis_server import RedisServer

from weft.integrations import langchain
from weft.integrations.langchain.settings import KEYS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "langchain.md").read_text(encoding="utf-8")


@pytest.fixture
def broker(tmp_path):
    server = RedisServer(tmp_path).start()
    yield server.url
    server.kill()


def test_the_blocks_of_the_page_run_in_their_order(tmp_path, monkeypatch, minilm, broker):
    monkeypatch.chdir(tmp_path)
    names = {"found_elsewhere": [Document(page_content="Warp threads are held taut.")]}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(blocks[0], names)  # makes the index, for a worker to serve
    assert names["store"].index.count() == 2
    with draining(tmp_path / "my-index", minilm):
        for block in blocks[1:]:
            exec(block.replace("redis://localhost:6379/0", broker), names)
    assert names["store"].index.get("warp").metadata == {"year": 1801}
    assert {text.text for text in map(names["store"].index.get, names["store"].index.ids())} >= {
        *("Encoded by a worker.", "The reed beats."),
    }


def test_the_page_names_everything():
    for name in (*langchain.__all__, *KEYS, "batch_size", "wait_seconds", "broker_url"):
        if name != "WeftVectorStoreRetriever":
            assert name in PAGE
