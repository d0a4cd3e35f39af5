"""A real ingestion pipeline, with docstore upserts, from documents to what is found."""

import pytest
from llama_index.core.extractors import BaseExtractor
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore

from weft.integrations.llama_index import WeftMarker, WeftVectorStore

PAGES = {
    "ferry": "The ferry to the island leaves at nine and comes back at six.",
    "bread": "Bread dough must rest for an hour before it is baked.",
    "violin": "A violin has four strings, tuned in fifths.",
}


class Length(BaseExtractor):
    async def aextract(self, nodes):
        return [{"length": len(node.get_content())} for node in nodes]


def pages(texts):
    return [Document(id_=id, text=text, metadata={"page": id}) for id, text in texts.items()]


def pipeline(store, strategy):
    return IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0), Length(), WeftMarker()],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=strategy,
    )


def test_the_mark_is_on_copies():
    node = TextNode(text="warp", metadata={"a": 1})
    (marked,) = WeftMarker()([node])
    assert node.embedding is None and marked.embedding == [0.0]
    assert marked == node.model_copy(update={"embedding": [0.0]})


@pytest.mark.parametrize(
    "strategy", [DocstoreStrategy.UPSERTS, DocstoreStrategy.UPSERTS_AND_DELETE]
)
def test_upserts_end_to_end(minilm_index, strategy):
    store = WeftVectorStore(minilm_index)
    ingestion = pipeline(store, strategy)

    def found(query):
        return store.as_retriever(k=1).retrieve(query)[0]

    assert len(ingestion.run(documents=pages(PAGES))) == 3
    first = found("When does the boat go?")
    assert first.node.ref_doc_id == "ferry"
    assert first.metadata == {"page": "ferry", "length": len(PAGES["ferry"])}
    assert first.node.embedding is None

    assert len(ingestion.run(documents=pages(PAGES))) == 0  # nothing has changed
    assert minilm_index.count() == 3

    changed = PAGES | {"ferry": "The ferry no longer runs; take the train through the tunnel."}
    del changed["violin"]
    changed["loom"] = "Warp threads are held taut."
    assert len(ingestion.run(documents=pages(changed))) == 2
    texts = {node.get_content() for node in store.get_nodes()}
    kept = {PAGES["violin"]} if strategy == DocstoreStrategy.UPSERTS else set()
    assert texts == {*changed.values(), *kept}
    assert found("Is there a train?").node.ref_doc_id == "ferry"


async def test_upserts_without_blocking(word_index):
    store = WeftVectorStore(word_index)
    ingestion = pipeline(store, DocstoreStrategy.UPSERTS)
    await ingestion.arun(documents=pages(PAGES))
    await ingestion.arun(documents=pages(PAGES | {"ferry": "No ferry any more."}))
    assert sorted(node.ref_doc_id for node in store.get_nodes()) == sorted(PAGES)
    assert (await store.as_retriever(k=1).aretrieve("ferry"))[0].node.get_content().startswith("No")


def test_empty_pages_are_passed_over(word_index):
    store = WeftVectorStore(word_index)
    texts = PAGES | {"blank": "", "white": " \n"}
    pipeline(store, DocstoreStrategy.UPSERTS).run(documents=pages(texts))
    assert {node.ref_doc_id for node in store.get_nodes()} == set(PAGES)


def test_without_the_mark_a_pipeline_hands_on_nothing(word_index):
    IngestionPipeline(
        transformations=[SentenceSplitter()], vector_store=WeftVectorStore(word_index)
    ).run(documents=pages(PAGES))
    assert word_index.count() == 0
