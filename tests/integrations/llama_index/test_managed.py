"""The managed index: insert, update, refresh and delete by document, with nothing beside it."""

import pytest
from llama_index.core import MockEmbedding, Settings
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, TextNode
from word_encoder import WordEncoder

from weft import Index
from weft.engine.errors import InvalidParameterError
from weft.integrations.llama_index import WeftIndex

SPLITTER = [SentenceSplitter(chunk_size=12, chunk_overlap=0)]
LOOM = "The warp threads are held taut. The weft is drawn through the warp. A reed beats it."


def document(id, text=LOOM, **metadata):
    return Document(id_=id, text=text, metadata=metadata)


@pytest.fixture
def index(word_index):
    return WeftIndex(word_index, transformations=SPLITTER)


def counted(index):
    return {id: len(info.node_ids) for id, info in index.ref_doc_info.items()}


def test_insert_and_retrieve(index):
    index.insert(document("loom", about="looms"))
    index.insert(document("moth", "Silk comes from moths."))
    assert counted(index).keys() == {"loom", "moth"} and counted(index)["loom"] > 1
    found = index.as_retriever(k=1).retrieve("moths")[0]
    assert (found.node.ref_doc_id, found.node.get_content()) == ("moth", "Silk comes from moths.")
    only = index.as_retriever(similarity_top_k=9, filters={"about": "looms"}).retrieve("moths")
    assert {one.node.ref_doc_id for one in only} == {"loom"}
    assert index.ref_doc_info["loom"].metadata == {"about": "looms"}


async def test_update_leaves_no_old_node(index):
    index.insert(document("loom"))
    index.insert(document("moth", "Silk comes from moths."))
    index.update_ref_doc(document("loom", "Only a reed is left."))
    assert counted(index) == {"loom": 1, "moth": 1}
    await index.aupdate_ref_doc(document("moth", "Moths make silk.", year=1))
    texts = [node.get_content() for node in index.vector_store.get_nodes()]
    assert sorted(texts) == ["Moths make silk.", "Only a reed is left."]


async def test_a_document_that_becomes_empty_has_no_nodes(index):
    index.insert(document("loom"))
    await index.ainsert(document("blank", ""))
    index.update_ref_doc(document("loom", " "))
    assert counted(index) == {}


async def test_delete_by_document_and_by_node(index):
    for name in ("a", "b", "c"):
        await index.ainsert(document(name))
    index.delete_ref_doc("a", delete_from_docstore=True)
    index.delete_ref_doc("unknown")
    assert counted(index).keys() == {"b", "c"}
    await index.adelete_ref_doc("b")
    index.delete_nodes(index.ref_doc_info["c"].node_ids[1:])
    assert counted(index) == {"c": 1}
    await index.adelete_nodes(index.ref_doc_info["c"].node_ids)
    assert counted(index) == {}


async def test_refresh_writes_what_has_changed_also_after_opening_again(tmp_path):
    pages = [document("a", "warp"), document("b", "weft")]
    encoder = WordEncoder()
    made = WeftIndex.from_documents(pages, tmp_path / "index", encoder=encoder)
    made.vector_store.client.close()
    with Index.open(tmp_path / "index", encoder=encoder) as opened:
        index = WeftIndex(opened)
        assert index.refresh_ref_docs(pages) == [False, False]
        pages[1] = document("b", "weft", year=1)
        pages.append(document("c", "reed"))
        assert index.refresh_ref_docs(pages) == [False, True, True]
        assert await index.arefresh_ref_docs(pages) == [False, False, False]
        assert counted(index) == {"a": 1, "b": 1, "c": 1}
        assert index.as_retriever(k=1).retrieve("weft")[0].metadata == {"year": 1}


def test_nodes_of_the_constructor(word_index):
    index = WeftIndex(word_index, [TextNode(id_="warp", text="warp"), TextNode(text="weft")])
    assert index.as_retriever(k=1).retrieve("warp")[0].node_id == "warp"
    assert word_index.count() == 2 and counted(index) == {}


async def test_a_query_engine_answers_from_it(index):
    index.insert(document("loom"))
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1, response_mode="compact")
    answer = engine.query("Which threads are held taut?")
    assert "held taut" in str(answer) and len(answer.source_nodes) == 1
    assert "held taut" in str(await engine.aquery("Which threads are held taut?"))
    with pytest.raises(InvalidParameterError, match="similarity_top"):
        index.as_query_engine(llm=MockLLM(), similarity_top=1)
    with pytest.raises(InvalidParameterError):
        index.as_retriever(k=1, similarity_top_k=1)
    with pytest.raises(InvalidParameterError):
        index.as_retriever(topk=1)
    with pytest.raises(InvalidParameterError):
        index.update_ref_doc(document("loom"), force=True)


def test_no_embedding_model_is_asked_for(index, monkeypatch):
    class Refusing(MockEmbedding):
        def _get_text_embedding(self, text):
            raise AssertionError

        _get_query_embedding = _get_text_embedding

    monkeypatch.setattr(Settings, "_embed_model", Refusing(embed_dim=3))
    index.insert(document("loom"))
    assert index.as_retriever().retrieve("warp")
