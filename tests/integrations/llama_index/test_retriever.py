"""The retriever: what comes back, how a search is told what, what is refused, what it emits."""

import asyncio
import threading

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.schema import IndexNode, QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from word_encoder import WordEncoder

from weft import Index
from weft.engine.errors import (
    IndexNotFoundError,
    InvalidFilterError,
    InvalidParameterError,
    InvalidQueryError,
)
from weft.engine.search.plan import KNOWN
from weft.integrations.llama_index import WeftRetriever
from weft.integrations.llama_index.search import PARAMETERS


def ids(found):
    return [one.node_id for one in found]


def test_nodes_come_back_as_they_were_added(retriever, fabrics):
    found = WeftRetriever(retriever.index, k=5).retrieve("warp threads")
    assert sorted((one.node for one in found), key=lambda n: n.id_) == sorted(
        fabrics, key=lambda n: n.id_
    )
    for one in found:
        twin = next(node for node in fabrics if node.id_ == one.node_id)
        assert one.node.hash == twin.hash and one.node.ref_doc_id == twin.ref_doc_id
        assert list(one.node.metadata) == list(twin.metadata)


async def test_scores_are_those_of_the_index_sync_and_async(retriever):
    made = WeftRetriever(retriever.index, k=4)
    hits = retriever.index.search("warp threads", 4)
    expected = [(hit.id, hit.score) for hit in hits]
    assert [(one.node_id, one.score) for one in made.retrieve("warp threads")] == expected
    again = await made.aretrieve(QueryBundle("warp threads"))
    assert [(one.node_id, one.score) for one in again] == expected
    assert len(retriever.retrieve("warp")) == 2


def test_filters_of_both_kinds_apply_before_scoring(retriever):
    own = WeftRetriever(retriever.index, k=1, filters={"year": {"$lt": 1800}})
    assert ids(own.retrieve("warp threads are taut")) == ["weft"]
    theirs = MetadataFilters(filters=[MetadataFilter(key="year", value=1800, operator="<")])
    assert ids(WeftRetriever(retriever.index, filters=theirs).retrieve("warp")) == ["weft"]
    nested = WeftRetriever(retriever.index, filters={"a.b": "x"})
    assert ids(nested.retrieve("warp")) == ["silk"]


def test_parameters_reach_the_search(retriever):
    assert set(PARAMETERS) | {"k", "group_by"} == set(KNOWN)
    given = {"effort": "fast", "nprobe": 8, "ndocs": 100, "n_rescored": 50, "threads": 1}
    given |= {"algorithm": "plaid", "centroid_score_threshold": -1.0, "exact": False}
    found = WeftRetriever(retriever.index, k=3, **given).retrieve("warp")
    assert ids(found) == [hit.id for hit in retriever.index.search("warp", 3, **given)]


async def test_the_event_loop_goes_on_meanwhile(tmp_path):
    begun, release = threading.Event(), threading.Event()

    class Slow(WordEncoder):
        def encode_queries(self, texts):
            begun.set()
            assert release.wait(20)
            return super().encode_queries(texts)

    with Index.create(tmp_path / "index", encoder=Slow()) as index:
        index.add(["warp"], ids=["warp"])
        task = asyncio.create_task(WeftRetriever(index).aretrieve("warp"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        assert not task.done()
        release.set()
        assert ids(await task) == ["warp"]


def test_documents_of_other_programs_are_text_nodes(retriever):
    retriever.index.add(["a comb"], ids=["comb"], metadata=[{"made": "of bone"}])
    found = retriever.retrieve("comb")[0].node
    assert found == TextNode(id_="comb", text="a comb", metadata={"made": "of bone"})


def test_index_nodes_lead_to_their_objects(store):
    store.add([IndexNode(id_="door", text="door to threads", index_id="other")])
    behind = TextNode(id_="behind", text="what is behind")
    entered = store.as_retriever(k=1, object_map={"other": behind})
    assert ids(entered.retrieve("door")) == ["behind"]
    assert isinstance(store.as_retriever(k=1).retrieve("door")[0].node, IndexNode)


def test_retrieval_emits_events(retriever):
    seen = []

    class Handler(BaseEventHandler):
        def handle(self, event, **kwargs):
            seen.append(event)

    handler = Handler()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(handler)
    try:
        retriever.retrieve("warp")
    finally:
        dispatcher.event_handlers.remove(handler)
    assert type(seen[0]).__name__ == "RetrievalStartEvent"
    assert isinstance(seen[-1], RetrievalEndEvent) and len(seen[-1].nodes) == 2


def test_explain_names_characters_of_the_node(retriever):
    match = retriever.explain("taut", "warp").matches[0]
    assert "warp threads are taut"[match.start : match.end] == "taut"


async def test_what_is_not_understood_raises(retriever, tmp_path):
    index = retriever.index
    for wrong in ({"top_k": 3}, {"k": 0}, {"k": "3"}, {"effort": "much"}, {"group_by": "passage"}):
        with pytest.raises(InvalidParameterError):
            WeftRetriever(index, **wrong)
    for filters in ({"year": {"$near": 1}}, [1], "year"):
        with pytest.raises(InvalidFilterError):
            WeftRetriever(index, filters=filters)
    with pytest.raises(IndexNotFoundError):
        WeftRetriever(tmp_path / "nothing")
    with pytest.raises(InvalidQueryError):
        retriever.retrieve(" ")
    with pytest.raises(InvalidQueryError):
        await retriever.aretrieve("")
