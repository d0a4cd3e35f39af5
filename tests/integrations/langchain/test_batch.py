"""`batch` encodes once and searches one generation; callbacks, errors, threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document

from weft.engine.errors import IndexNotFoundError, InvalidParameterError, InvalidQueryError
from weft.engine.index import Index
from weft.integrations.langchain import WeftDocumentIndex, WeftRetriever, WeftVectorStore

QUERIES = ["warp taut", "weft drawn", "silk moths", "linen flax", "a loom", "warp taut"]


@pytest.fixture(params=["retriever", "document index", "store"])
def any_retriever(request, store):
    if request.param == "store":
        return store.as_retriever(search_kwargs={"k": 3})
    kind = WeftRetriever if request.param == "retriever" else WeftDocumentIndex
    return kind(store.index, k=3)


@pytest.fixture
def encoder(store):
    encoder = store.index.encoder
    encoder.calls.clear()
    return encoder


@pytest.fixture
def snapshots(monkeypatch):
    """The generations that were searched."""
    seen = []
    taken = Index.snapshot

    def snapshot(self):
        view = taken(self)
        seen.append(view.generation)
        return view

    monkeypatch.setattr(Index, "snapshot", snapshot)
    return seen


async def test_one_encoding_and_one_generation(any_retriever, encoder, snapshots):
    one_by_one = [any_retriever.invoke(query) for query in QUERIES]
    for call in (any_retriever.batch, any_retriever.abatch):
        encoder.calls.clear()
        snapshots.clear()
        found = call(QUERIES)
        found = found if call == any_retriever.batch else await found
        assert found == one_by_one
        assert encoder.calls == [("queries", len(QUERIES))]
        assert len(snapshots) == 1


async def test_a_config_for_each_query(any_retriever, encoder):
    configs = [{"configurable": {"k": 1 + n % 3}} for n in range(len(QUERIES))]
    expected = [1 + n % 3 for n in range(len(QUERIES))]
    assert [len(found) for found in any_retriever.batch(QUERIES, configs)] == expected
    assert encoder.calls == [("queries", len(QUERIES))]
    assert [len(found) for found in await any_retriever.abatch(QUERIES, configs)] == expected


async def test_nothing_to_ask(any_retriever):
    assert any_retriever.batch([]) == []
    assert await any_retriever.abatch([]) == []


async def test_errors_stay_with_their_query(any_retriever):
    queries = ["warp", "", "weft", "silk"]
    configs = [{}, {}, {"configurable": {"nprobe": -1}}, {}]
    with pytest.raises(InvalidQueryError):
        any_retriever.batch(queries, configs)
    for found in (
        any_retriever.batch(queries, configs, return_exceptions=True),
        await any_retriever.abatch(queries, configs, return_exceptions=True),
    ):
        assert isinstance(found[1], InvalidQueryError)
        assert isinstance(found[2], InvalidParameterError)
        assert found[0] == any_retriever.invoke("warp")
        assert found[3] == any_retriever.invoke("silk")


class Recorder(BaseCallbackHandler):
    def __init__(self):
        self.events = []

    def on_retriever_start(self, serialized, query, *, run_id, tags=None, metadata=None, **more):
        self.events.append(
            ("start", query, more["name"], sorted(tags), metadata["ls_retriever_name"])
        )

    def on_retriever_end(self, documents, *, run_id, **more):
        self.events.append(("end", [document.id for document in documents]))

    def on_retriever_error(self, error, *, run_id, **more):
        self.events.append(("error", type(error).__name__))


class AsyncRecorder(Recorder, AsyncCallbackHandler):
    async def on_retriever_start(self, *given, **more):
        Recorder.on_retriever_start(self, *given, **more)

    async def on_retriever_end(self, *given, **more):
        Recorder.on_retriever_end(self, *given, **more)

    async def on_retriever_error(self, *given, **more):
        Recorder.on_retriever_error(self, *given, **more)


async def test_callbacks_hear_of_each_query_as_invoke_tells_them(any_retriever):
    def config(recorder):
        return {"callbacks": [recorder], "tags": ["mine"], "run_name": "asking"}

    single, batch, awaited = Recorder(), Recorder(), AsyncRecorder()
    for query in ("warp", "weft"):
        any_retriever.invoke(query, config(single))
    any_retriever.batch(["warp", "weft"], config(batch))
    await any_retriever.abatch(["warp", "weft"], config(awaited))
    assert sorted(map(str, batch.events)) == sorted(map(str, single.events))
    assert sorted(map(str, awaited.events)) == sorted(map(str, single.events))
    bad = Recorder()
    any_retriever.batch(["warp", ""], config(bad), return_exceptions=True)
    assert [event[0] for event in bad.events] == ["start", "start", "end", "error"]


def test_callbacks_hear_of_what_concerns_all(retriever):
    recorder = Recorder()
    other = WeftRetriever(retriever.index)

    def broken():
        raise IndexNotFoundError("gone")

    other.index.snapshot = broken
    with pytest.raises(IndexNotFoundError):
        other.batch(["warp", "weft"], {"callbacks": [recorder]})
    del other.index.snapshot
    assert [event[0] for event in recorder.events] == ["start", "start", "error", "error"]


def test_thresholds_of_a_stores_retriever(store):
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"k": 5, "score_threshold": 0.9}
    )
    alone = [retriever.invoke(query) for query in ("warp taut", "silk")]
    assert [[document.id for document in found] for found in alone] == [["warp"], ["silk"]]
    assert retriever.batch(["warp taut", "silk"]) == alone


def test_sixteen_threads_of_batches_while_documents_come_and_go(store):
    """Each batch is the answer of one generation: it finds a pair of documents whole or not."""
    retriever = WeftRetriever(store.index, k=1)
    stop, failures = threading.Event(), []

    def write():
        while not stop.is_set():
            for n in (1, 2):
                texts = [f"twin left number{n}", f"twin right number{n}"]
                store.add_texts(texts, ids=["left", "right"])

    def ask(_):
        for _ in range(12):
            left, right, warp = retriever.batch(["twin left", "twin right", "warp taut"])
            if warp[0].id != "warp" or left[0].id != "left" or right[0].id != "right":
                failures.append((left, right, warp))
            elif left[0].page_content[-1] != right[0].page_content[-1]:
                failures.append((left, right))

    store.add_texts(["twin left number1", "twin right number1"], ids=["left", "right"])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(16)))
    finally:
        stop.set()
        writer.join()
    assert failures == []


def test_sixteen_threads_with_the_real_encoder(minilm_index):
    store = WeftVectorStore(minilm_index)
    texts = ["Bread is baked.", "The ferry leaves at nine.", "A violin has four strings."]
    store.add_documents([Document(id=str(n), page_content=text) for n, text in enumerate(texts)])
    retriever = WeftRetriever(store.index, k=2)
    expected = retriever.batch(texts)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda _: retriever.batch(texts), range(32))) == [expected] * 32
