"""The four public suites of langchain_tests, whole, with the real encoder, flat and compressed."""

import inspect

import pytest
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.integration_tests.indexer import (
    AsyncDocumentIndexTestSuite,
    DocumentIndexerTestSuite,
)

from weft.integrations.langchain import WeftDocumentIndex, WeftRetriever, WeftVectorStore

LOOMS = [
    "Warp threads are held taut on the loom.",
    "The weft is drawn through the warp by a shuttle.",
    "A reed beats each thread into place.",
    "Linen is spun from flax.",
    "Silk comes from the cocoons of moths.",
]


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def filled(self, minilm_index):
        minilm_index.add(LOOMS)
        self.index = minilm_index
        yield
        del self.index

    @property
    def retriever_constructor(self):
        return WeftRetriever

    @property
    def retriever_constructor_params(self):
        return {"index": self.index}

    @property
    def retriever_query_example(self):
        return "What moves the weft?"


class TestRetrieverThatIsADocumentIndex(TestRetriever):
    @property
    def retriever_constructor(self):
        return WeftDocumentIndex


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, minilm_index):
        return WeftVectorStore(minilm_index)


class TestDocumentIndex(DocumentIndexerTestSuite):
    @pytest.fixture
    def index(self, minilm_index):
        return WeftDocumentIndex(minilm_index)


class TestAsyncDocumentIndex(AsyncDocumentIndexTestSuite):
    @pytest.fixture
    async def index(self, minilm_index):
        return WeftDocumentIndex(minilm_index)


SUITES = [TestRetriever, TestVectorStore, TestDocumentIndex, TestAsyncDocumentIndex]


@pytest.mark.parametrize("suite", SUITES)
def test_nothing_of_a_suite_is_changed_marked_or_switched_off(suite):
    published = suite.__bases__[0]
    for name, member in inspect.getmembers(published):
        if name.startswith(("test_", "has_")):
            assert inspect.getattr_static(suite, name) is inspect.getattr_static(published, name)
            assert not getattr(member, "pytestmark", [])
