"""Adapters with a queue: what is written is submitted, encoded by a worker, and waited for."""

import asyncio
import time

import pytest
from adapter_indexes import draining
from draining import Failing
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from redis_server import RedisServer
from word_encoder import WordEncoder
from worker_process import WorkerProcess

from weft import Index
from weft.engine.errors import (
    InvalidDocumentError,
    InvalidParameterError,
    SubmissionFailedError,
    SubmissionPendingError,
)
from weft.integrations import writing
from weft.integrations.langchain import WeftDocumentIndex, WeftVectorStore
from weft.workers import Client


@pytest.fixture
def opened(tmp_path):
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        yield index


@pytest.fixture
def worker(opened):
    with draining(opened.path, WordEncoder()):
        yield


@pytest.fixture(params=[WeftVectorStore, WeftDocumentIndex])
def adapter(request):
    return request.param


def add(adapter, texts, **more):
    made = [Document(id=id, page_content=text) for id, text in texts.items()]
    call = adapter.add_documents if isinstance(adapter, WeftVectorStore) else adapter.upsert
    return call(made, **more)


async def aadd(adapter, texts, **more):
    made = [Document(id=id, page_content=text) for id, text in texts.items()]
    call = adapter.aadd_documents if isinstance(adapter, WeftVectorStore) else adapter.aupsert
    return await call(made, **more)


def no_encoding(adapter):
    assert all(kind == "queries" for kind, _ in adapter.index.encoder.calls)


async def test_what_is_waited_for_is_found(opened, worker, adapter):
    made = adapter(opened, queue=True)
    add(made, {"a": "warp", "b": "weft"})
    assert opened.search("weft", 1)[0].id == "b"
    add(made, {"a": "velvet"}, wait=True)
    assert opened.get("a").text == "velvet"
    await aadd(made, {"c": "linen"})
    assert opened.count() == 3
    made.delete(["a", "unknown"])
    assert opened.get("a") is None
    await made.adelete(["b"])
    assert list(opened.ids()) == ["c"]
    no_encoding(made)


async def test_responses_of_a_queued_document_index(opened, worker):
    made = WeftDocumentIndex(opened, queue=True)
    assert add(made, {"a": "warp"}) == {"succeeded": ["a"], "failed": []}
    gone = {"num_deleted": 1, "succeeded": ["a"], "num_failed": 0, "failed": []}
    assert made.delete(["a", "b"]) == gone
    assert made.delete(["a"], wait=False) == {"num_failed": 0, "failed": []}
    assert await made.adelete(["a"], wait=False) == {"num_failed": 0, "failed": []}
    assert made.delete([])["num_deleted"] == (await made.adelete([]))["num_deleted"] == 0


async def test_a_store_deletes_everything_through_the_queue(opened, worker):
    store = WeftVectorStore(opened, queue=True)
    store.add_texts([f"text {n}" for n in range(5)])
    assert store.delete() is True and opened.count() == 0
    store.add_texts(["again"])
    assert await store.adelete() is True and opened.count() == 0


async def test_nobody_waits_when_told_so(opened, adapter):
    made = adapter(opened, queue=True, wait=False)
    add(made, {"a": "warp"})
    await aadd(made, {"b": "weft"})
    made.delete(["a"])
    assert opened.count() == 0
    with draining(opened.path, WordEncoder()):
        add(made, {"c": "silk"}, wait=True)
    assert sorted(opened.ids()) == ["b", "c"]


async def test_the_time_can_be_over(opened, adapter):
    made = adapter(opened, queue=True, wait_seconds=0.1)
    with pytest.raises(SubmissionPendingError, match="start workers"):
        add(made, {"a": "warp"})
    with pytest.raises(TimeoutError):
        await aadd(made, {"b": "weft"})
    with pytest.raises(SubmissionPendingError):
        made.delete(["a"])
    with draining(opened.path, WordEncoder()):
        add(adapter(opened, queue=True), {"c": "silk"})
    assert sorted(opened.ids()) == ["b", "c"]


async def test_what_workers_set_aside_raises_and_is_not_recorded(opened, adapter):
    made = adapter(opened, queue=True)
    records = InMemoryRecordManager("tests")
    source = [Document(page_content=text) for text in ("warp", "poison", "weft")]
    with draining(opened.path, Failing()):
        with pytest.raises(SubmissionFailedError, match="cannot be encoded") as caught:
            index(source, records, made, key_encoder=lambda document: document.page_content)
        assert set(caught.value.reasons) == {"poison"}
        with pytest.raises(SubmissionFailedError, match="dead-letters"):
            await aadd(made, {"p": "more poison"})
    assert sorted(opened.ids()) == ["warp", "weft"]
    assert records.list_keys() == []


async def test_bad_input_never_reaches_the_queue(opened, adapter):
    made = adapter(opened, queue=True)
    with pytest.raises(InvalidDocumentError):
        add(made, {"a": "fine", "b": ""})
    with pytest.raises(InvalidDocumentError):
        await aadd(made, {"a": "fine", "b": ""})
    with Client(opened) as client:
        assert client.waiting() == 0


def test_what_is_too_much_for_one_submission_becomes_several(opened, worker, monkeypatch):
    monkeypatch.setattr(writing, "SUBMISSION_OPERATIONS", 3)
    store = WeftVectorStore(opened, queue=True)
    ids = store.add_texts([f"text {n}" for n in range(8)])
    assert sorted(opened.ids()) == sorted(ids)
    monkeypatch.setattr(writing, "SUBMISSION_BYTES", 100)
    store.add_texts([f"{'word ' * 10} {n}" for n in range(5)], ids=list("abcde"))
    assert store.delete(ids) is True
    assert sorted(opened.ids()) == list("abcde")


async def test_waiting_blocks_neither_the_loop_nor_its_threads(opened):
    """A hundred writes wait for a worker that is not there yet, while others search."""
    store = WeftVectorStore(opened, queue=True)
    opened.add(["warp"], ids=["warp"])
    writes = [
        asyncio.create_task(store.aadd_texts([f"text {n}"], ids=[f"t{n}"])) for n in range(100)
    ]
    while await asyncio.to_thread(Client(opened).waiting) < 100:
        await asyncio.sleep(0.01)
    started = time.monotonic()
    assert (await store.asimilarity_search("warp"))[0].id == "warp"
    assert time.monotonic() - started < 30 and not any(write.done() for write in writes)
    with draining(opened.path, WordEncoder()):
        assert await asyncio.gather(*writes) == [[f"t{n}"] for n in range(100)]
    assert opened.count() == 101


def test_ways_to_a_queue(opened, adapter):
    with Client(opened) as client:
        made = adapter(opened, client=client, wait=False)
        add(made, {"a": "warp"})
        assert client.waiting() == 1
        with pytest.raises(InvalidParameterError, match="exclude"):
            adapter(opened, client=client, broker_url="redis://localhost")
    for wrong in (
        {"client": "redis://localhost"},
        {"queue": 1},
        {"wait": None},
        {"queue": True, "wait_seconds": "3"},
    ):
        with pytest.raises(InvalidParameterError):
            adapter(opened, **wrong)
    for pointless in ({"wait": False}, {"wait_seconds": 3}):
        with pytest.raises(InvalidParameterError, match="queue"):
            adapter(opened, **pointless)


def test_with_redis_and_a_real_worker(opened, adapter, tmp_path):
    server = RedisServer(tmp_path).start()
    process = WorkerProcess(opened.path, server.url, tmp_path / "worker.log", sweep_seconds=60)
    try:
        process.start()
        made = adapter(opened, broker_url=server.url, wait_seconds=60)
        add(made, {"a": "warp", "b": "weft"})
        made.delete(["a"])
        assert list(opened.ids()) == ["b"]
        no_encoding(made)
    finally:
        process.kill()
        server.kill()
