"""An index of a few nodes with the cheap encoder, and the store and retriever on it."""

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from weft.integrations.llama_index import WeftRetriever, WeftVectorStore


def cut(id, text, metadata, ref):
    node = TextNode(id_=id, text=text, metadata=metadata)
    if ref is not None:
        source = RelatedNodeInfo(node_id=ref, metadata={"file": f"{ref}.txt"})
        node.relationships[NodeRelationship.SOURCE] = source
    return node


FABRICS = [
    ("warp", "warp threads are taut", {"year": 1801, "n": [1, 2], "who": "Ada Loom"}, "loom"),
    ("weft", "weft threads are drawn", {"year": 1785, "who": "ÉMILE"}, "loom"),
    ("silk", "silk comes from moths", {"year": 1910.5, "a": {"b": "x"}, "tags": ["x"]}, "cloth"),
    ("flax", "linen is spun from flax", {"z": "last", "a": "first"}, "cloth"),
    ("loom", "a loom holds the warp", {"year": None, "tags": [], "who": ""}, None),
]


@pytest.fixture
def fabrics():
    return [cut(*fabric) for fabric in FABRICS]


@pytest.fixture
def store(word_index, fabrics):
    store = WeftVectorStore(word_index)
    store.add(fabrics)
    return store


@pytest.fixture
def retriever(store):
    return WeftRetriever(store.client)
