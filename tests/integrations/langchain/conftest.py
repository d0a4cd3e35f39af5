"""An index of a few documents with the cheap encoder, and all adapters on it."""

import pytest
from langchain_core.documents import Document

from weft.integrations.langchain import WeftDocumentIndex, WeftRetriever, WeftVectorStore

FABRICS = [
    Document(id="warp", page_content="warp threads are taut", metadata={"year": 1801, "n": [1]}),
    Document(id="weft", page_content="weft threads are drawn", metadata={"year": 1785}),
    Document(id="silk", page_content="silk comes from moths", metadata={"year": 1910, "a": {}}),
    Document(id="flax", page_content="linen is spun from flax", metadata={}),
    Document(id="loom", page_content="a loom holds the warp", metadata={"year": None}),
]


@pytest.fixture
def fabrics():
    return [document.model_copy(deep=True) for document in FABRICS]


@pytest.fixture
def store(word_index, fabrics):
    store = WeftVectorStore(word_index)
    store.add_documents(fabrics)
    return store


@pytest.fixture
def retriever(store):
    return WeftRetriever(store.index)


@pytest.fixture
def documents(store):
    return WeftDocumentIndex(store.index)
