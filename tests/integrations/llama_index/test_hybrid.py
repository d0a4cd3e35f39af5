"""Hybrid modes of LlamaIndex's queries mean what the engine's `hybrid` means."""

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from weft import Hybrid
from weft.engine.errors import InvalidParameterError
from weft.integrations.llama_index import WeftRetriever

HYBRID, SPARSE = VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SPARSE
TEXT = "threads are drawn on the loom"


def asked(store, **given):
    found = store.query(VectorStoreQuery(query_str=TEXT, similarity_top_k=4, **given))
    return list(zip(found.ids, found.similarities, strict=True))


def searched(store, k=4, **given):
    return [(hit.id, hit.score) for hit in store.client.search(TEXT, k, **given)]


@pytest.mark.parametrize("alpha", [0, 0.0, 0.3, 0.5, 1.0])
def test_alpha_is_the_weight_of_late_interaction(store, alpha):
    assert asked(store, mode=HYBRID, alpha=alpha) == searched(store, hybrid=alpha)


def test_without_alpha_ranks_are_fused(store):
    assert asked(store, mode=HYBRID) == searched(store, hybrid="rrf")
    deep = {"mode": HYBRID, "sparse_top_k": 9, "hybrid_top_k": 2}
    assert asked(store, **deep) == searched(store, 2, hybrid=Hybrid("rrf", depth=9))


@pytest.mark.parametrize("mode", [SPARSE, VectorStoreQueryMode.TEXT_SEARCH])
def test_sparse_is_words_alone(store, mode):
    found = asked(store, mode=mode)
    assert found == searched(store, hybrid=0)
    assert {id for id, _ in found} == {"warp", "weft", "loom"}  # the others share no word
    assert len(asked(store, mode=mode, sparse_top_k=1)) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"alpha": 0.5},
        {"hybrid_top_k": 3},
        {"sparse_top_k": 3},
        {"mode": SPARSE, "alpha": 0.5},
        {"mode": HYBRID, "alpha": 1.5},
        {"mode": HYBRID, "sparse_top_k": -1},
    ],
)
def test_what_does_not_go_together(store, given):
    with pytest.raises(InvalidParameterError):
        asked(store, **given)


def test_only_one_may_say_how(store):
    query = VectorStoreQuery(query_str=TEXT, mode=HYBRID)
    with pytest.raises(InvalidParameterError, match="leave one out"):
        store.query(query, hybrid="rrf")
    plain = VectorStoreQuery(query_str=TEXT, similarity_top_k=4)
    found = store.query(plain, hybrid="rrf")
    assert found.ids == [id for id, _ in searched(store, hybrid="rrf")]


def test_retrievers(store):
    made = WeftRetriever(store.client, k=4, hybrid=0.4)
    found = [(one.node_id, one.score) for one in made.retrieve(TEXT)]
    assert found == searched(store, hybrid=0.4)
    with pytest.raises(InvalidParameterError, match="hybrid"):
        WeftRetriever(store.client, hybrid="bm25")
    core = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(3)).as_retriever(
        similarity_top_k=4, vector_store_query_mode="hybrid", alpha=0.4
    )
    assert [(one.node_id, one.score) for one in core.retrieve(TEXT)] == found


def test_among_named_nodes(store):
    found = asked(store, mode=HYBRID, node_ids=["warp", "silk", "loom", "nothing"])
    assert {id for id, _ in found} == {"warp", "silk", "loom"}
    with pytest.raises(InvalidParameterError, match="node_ids"):
        asked(store, mode=HYBRID, node_ids=[f"n{n}" for n in range(501)])
