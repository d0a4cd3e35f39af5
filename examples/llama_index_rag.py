"""RAG in LlamaIndex: an ingestion pipeline, a query engine with a reranker, filters, an update.

The language model is LlamaIndex's mock, which repeats its prompt, so that the example runs
anywhere: put your own in its place. Needs `weft[llama-index]`.
"""

import tempfile

from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from weft.integrations.llama_index import WeftIndex, WeftMarker, WeftRerank, WeftVectorStore

MANUAL = {
    "ferry": "The ferry to the island leaves at nine and comes back at six.",
    "ticket": "Tickets for the crossing are sold on the pier and cost four crowns.",
    "bread": "Bread dough must rest for an hour before it is baked.",
    "storm": "When the storm flag is up, no boat leaves the harbour.",
    "violin": "A violin has four strings, tuned in fifths.",
}


def pages() -> list[Document]:
    """The manual as documents of LlamaIndex."""
    return [Document(id_=id, text=text, metadata={"about": id}) for id, text in MANUAL.items()]


def main() -> None:
    """Fill an index, ask it, restrict it, and change what it holds."""
    store = WeftVectorStore(tempfile.mkdtemp() + "/index")
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), WeftMarker()],
        vector_store=store,
        docstore=SimpleDocumentStore(),
    )
    written, again = pipeline.run(documents=pages()), pipeline.run(documents=pages())
    print(f"pipeline: {len(written)} nodes, {len(again)} the second time")

    index = WeftIndex(store.client)
    rerank = WeftRerank(encoder=store.client.encoder, top_n=1)
    engine = index.as_query_engine(llm=MockLLM(), k=3, node_postprocessors=[rerank])
    answer = engine.query("When does the ferry leave?")
    print("source:", answer.source_nodes[0].node.get_content())
    print("answer quotes it:", MANUAL["ferry"] in str(answer))

    storms = MetadataFilter(key="about", value="STO", operator="text_match_insensitive")
    only = MetadataFilters(filters=[storms])
    found = index.as_retriever(k=1, filters=only).retrieve("boat")[0]
    print(f"filter: {found.node.ref_doc_id}, score {found.score:.2f}")

    index.update_ref_doc(Document(id_="ferry", text="The ferry is replaced by a bridge."))
    print("update:", index.as_retriever(k=1).retrieve("ferry")[0].node.get_content())


if __name__ == "__main__":
    main()
