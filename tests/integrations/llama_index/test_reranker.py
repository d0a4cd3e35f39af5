"""The reranker scores like an exact index, tells its events, and changes nothing."""

import copy

import numpy as np
import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from word_encoder import WordEncoder

from weft.engine.errors import (
    CheckpointError,
    InvalidDocumentError,
    InvalidParameterError,
    InvalidQueryError,
)
from weft.integrations.llama_index import WeftRerank

TEXTS = [
    "Bread dough must rest for an hour before it is baked.",
    "The ferry to the island leaves at nine and comes back at six.",
    "A violin has four strings, tuned in fifths.",
    " ".join(f"Line {n} of a long timetable." for n in range(80)) + " The boat goes at noon.",
]


def nodes(texts=TEXTS):
    return [
        NodeWithScore(node=TextNode(id_=str(n), text=text, metadata={"n": [n]}), score=0.5)
        for n, text in enumerate(texts)
    ]


def naive(encoder, query, text):
    """MaxSim of the best passage, in NumPy."""
    vectors = encoder.encode_queries([query])[0]
    parts = [text[a:b] for a, b in encoder.split(text)] or [text]
    passages = [encoder.encode_passages([part])[0] for part in parts]
    return max(float((vectors @ passage.T).max(axis=1).sum()) for passage in passages)


async def test_scores_are_those_of_a_naive_maxsim(minilm):
    query = "When does the boat go?"
    given = nodes()
    before = copy.deepcopy(given)
    rerank = WeftRerank(encoder=minilm)
    found = rerank.postprocess_nodes(given, query_str=query)
    assert given == before and {one.node_id for one in found[:2]} == {"1", "3"}
    expected = {str(n): naive(minilm, query, text) for n, text in enumerate(TEXTS)}
    assert [one.node_id for one in found] == sorted(expected, key=expected.get, reverse=True)
    scores = [one.score for one in found]
    np.testing.assert_allclose(scores, [expected[one.node_id] for one in found], atol=1e-4)
    assert found == await rerank.apostprocess_nodes(given, QueryBundle(query))


def test_top_n_and_ties():
    rerank = WeftRerank(encoder=WordEncoder(), top_n=3)
    found = rerank.postprocess_nodes(nodes(["x", "a", "a", "a x"]), query_str="a")
    assert [one.node_id for one in found] == ["1", "2", "3"]
    assert rerank.postprocess_nodes([], query_str="a") == []


def test_events_before_and_after():
    seen = []

    class Handler(BaseEventHandler):
        def handle(self, event, **kwargs):
            seen.append(event)

    handler = Handler()
    get_dispatcher().add_event_handler(handler)
    try:
        WeftRerank(encoder=WordEncoder(), top_n=1).postprocess_nodes(nodes(), query_str="violin")
    finally:
        get_dispatcher().event_handlers.remove(handler)
    start, end = [e for e in seen if isinstance(e, ReRankStartEvent | ReRankEndEvent)]
    assert isinstance(start, ReRankStartEvent) and isinstance(end, ReRankEndEvent)
    assert (start.top_n, start.model_name, len(start.nodes)) == (1, "words-0", 4)
    assert start.query.query_str == "violin" and [one.node_id for one in end.nodes] == ["2"]


async def test_what_is_not_understood_raises(tmp_path):
    for wrong in ({"topn": 3}, {"top_n": 0}, {"top_n": "3"}, {"threads": -1}):
        with pytest.raises(InvalidParameterError):
            WeftRerank(encoder=WordEncoder(), **wrong)
    with pytest.raises(CheckpointError):
        WeftRerank(encoder=tmp_path / "nothing")
    rerank = WeftRerank(encoder=WordEncoder())
    for query in ("", " ", None):
        with pytest.raises(InvalidQueryError):
            rerank.postprocess_nodes(nodes(), query_str=query)
    with pytest.raises(InvalidDocumentError, match="TextNode"):
        await rerank.apostprocess_nodes([TextNode(text="a")], query_str="a")
    with pytest.raises(InvalidParameterError, match="str"):
        rerank.postprocess_nodes("text", query_str="a")
