"""The vector store: adding, deleting, getting, querying, with LlamaIndex's own index on top."""

import copy
import inspect
from datetime import date

import pytest
from adapter_indexes import draining
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from word_encoder import WordEncoder

from weft import Index
from weft.engine.errors import (
    CorruptIndexError,
    InvalidDocumentError,
    InvalidParameterError,
    InvalidQueryError,
)
from weft.integrations.llama_index import WeftVectorStore
from weft.integrations.llama_index import search as searching

OLD = MetadataFilters(filters=[MetadataFilter(key="year", value=1850, operator="<")])


def names(store):
    return sorted(store.client.ids())


def test_it_says_what_it_stores(store):
    assert store.stores_text and not store.is_embedding_query
    assert isinstance(store.client, Index) and store.class_name() == "WeftVectorStore"


def test_every_kind_of_node_comes_back_equal(store):
    other = RelatedNodeInfo(node_id="next", node_type="4", hash="h", metadata={"d": {"e": [1]}})
    nodes = [
        TextNode(
            id_="t", text="a — ü\n\n b ", metadata={"z": 1, "a": {"b": [1.5, None, True]}},
            excluded_embed_metadata_keys=["z"], start_char_idx=3, end_char_idx=9, mimetype="x/y",
            relationships={NodeRelationship.NEXT: other, NodeRelationship.CHILD: [other, other]},
            text_template="{content}", metadata_separator=";",
        ),
        Node(id_="n", text_resource=MediaResource(text="of a node", path="/a")),
        Document(id_="d", text="a document", metadata={"doc_id": "mine", "k": 1}),
        ImageNode(id_="i", text="an image", image_url="u", image_mimetype="image/png"),
        IndexNode(id_="x", text="an index", index_id="y"),
    ]  # fmt: skip
    before = copy.deepcopy(nodes)
    store.add(nodes)
    assert nodes == before
    found = store.get_nodes(["t", "n", "d", "i", "x"])
    assert found == nodes and list(map(type, found)) == list(map(type, nodes))
    assert [node.hash for node in found] == [node.hash for node in nodes]


async def test_add_replaces_and_get_names_the_present(store):
    store.add([TextNode(id_="warp", text="other words", embedding=[0.0])])
    await store.async_add([TextNode(id_="new", text="new words")], batch_size=1)
    assert names(store) == ["flax", "loom", "new", "silk", "warp", "weft"]
    found = await store.aget_nodes(["new", "gone", "warp", "new"])
    assert [node.get_content() for node in found] == ["new words", "other words"]
    assert found[1].embedding is None
    assert {node.id_ for node in store.get_nodes()} == set(names(store))
    assert [node.id_ for node in store.get_nodes(["silk", "weft"], OLD)] == ["weft"]


async def test_delete_by_the_document_nodes_were_cut_from(store):
    store.delete("loom")
    assert names(store) == ["flax", "loom", "silk"]  # the node named "loom" was cut from none
    store.delete("unknown")
    await store.adelete("cloth")
    assert names(store) == ["loom"]


async def test_delete_nodes_and_clear(store):
    store.delete_nodes()
    store.delete_nodes(["silk", "unknown"])
    assert names(store) == ["flax", "loom", "warp", "weft"]
    store.delete_nodes(["flax", "weft"], OLD)
    assert names(store) == ["flax", "loom", "warp"]
    await store.adelete_nodes(filters=OLD)
    assert names(store) == ["flax", "loom"]
    await store.adelete_nodes(["flax"])
    store.clear()
    assert names(store) == []
    store.add([TextNode(text="words")])
    await store.aclear()
    assert names(store) == []


async def test_query(store, fabrics):
    asked = VectorStoreQuery(query_str="warp threads", similarity_top_k=3)
    result = store.query(asked, effort="exact")
    hits = store.client.search("warp threads", 3, effort="exact")
    assert result.ids == [hit.id for hit in hits]
    assert result.similarities == [hit.score for hit in hits]
    assert list(result.nodes) == [n for id in result.ids for n in fabrics if n.id_ == id]
    assert await store.aquery(asked) == store.query(asked)


def test_query_among_filters_documents_and_nodes(store, monkeypatch):
    def found(**given):
        return store.query(
            VectorStoreQuery(query_str="warp threads taut moths", similarity_top_k=9, **given)
        ).ids

    assert set(found(filters=OLD)) == {"warp", "weft"}
    assert set(found(doc_ids=["cloth"])) == {"silk", "flax"}
    assert found(doc_ids=["cloth"], node_ids=["warp"]) == []
    assert found(filters=OLD, node_ids=["silk", "weft"]) == ["weft"]
    whole = found()
    assert found(node_ids=[], doc_ids=[]) == whole and len(whole) == 5
    monkeypatch.setattr(searching, "IDS_AT_A_TIME", 2)
    assert found(node_ids=[*reversed(whole), "warp"]) == whole
    many = [f"none-{n}" for n in range(3)]
    assert found(node_ids=[*many, "silk"]) == ["silk"]
    key = MetadataFilters(filters=[MetadataFilter(key="ref_doc_id", value="cloth")])
    assert set(found(filters=key)) == {"silk", "flax"}


def test_under_an_index_of_llama_index(word_index, fabrics):
    store = WeftVectorStore(word_index)
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(fabrics, storage_context=context, embed_model=MockEmbedding(3))
    assert names(store) == sorted(node.id_ for node in fabrics)
    index.delete_ref_doc("loom")
    index.insert(Document(id_="comb", text="a comb of bone"))
    found = index.as_retriever(similarity_top_k=1, filters=None).retrieve("comb")
    assert found[0].node.ref_doc_id == "comb" and found[0].score > 0.9
    engine = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(3))
    assert len(engine.as_retriever(similarity_top_k=9).retrieve("comb")) == 4


async def test_through_the_queue(tmp_path):
    encoder = WordEncoder()
    with Index.create(tmp_path / "index", encoder=encoder) as index:
        store = WeftVectorStore(index, queue=True, wait_seconds=60)
        with draining(index.path, encoder):
            assert store.add([TextNode(id_="warp", text="warp")]) == ["warp"]
            assert [node.id_ for node in store.get_nodes(["warp"])] == ["warp"]
            await store.adelete_nodes(["warp"])
            assert names(store) == []


async def test_what_is_not_understood_raises(store):
    for wrong in (
        *("a text", TextNode(text="alone"), [Node(text="a"), "b"], [3]),
        [TextNode(text="a", metadata={"when": date(2020, 1, 1)})],
        [TextNode(text="a", metadata={"t": (1, 2)})],
        [TextNode(text="a", metadata={"_node": 1})],
        [IndexNode(text="a", index_id="b", obj=TextNode(text="c"))],
    ):
        with pytest.raises(InvalidDocumentError):
            store.add(wrong)
        with pytest.raises(InvalidDocumentError):
            await store.async_add(wrong)
    assert len(names(store)) == 5
    for call in (store.add, store.delete, store.delete_nodes):
        with pytest.raises(InvalidParameterError, match="sort"):
            call([], sort=True)
    with pytest.raises(InvalidQueryError, match="query_str"):
        store.query(VectorStoreQuery(query_embedding=[0.1]))
    with pytest.raises(InvalidParameterError, match="sort"):
        store.query(VectorStoreQuery(query_str="a"), sort=True)
    for mode in VectorStoreQueryMode:
        if mode.value not in ("default", "hybrid", "sparse", "text_search"):
            with pytest.raises(NotImplementedError, match="late interaction"):
                store.query(VectorStoreQuery(query_str="a", mode=mode))


def test_a_document_that_claims_to_be_a_node(store):
    for claim in (1, "x", [["{"]], [['{"type": "Nothing", "rest": {}, "keys": []}']], [["[]"]]):
        store.client.upsert(["false words"], ids=["false"], metadata=[{"_node": claim}])
        with pytest.raises(CorruptIndexError, match="'false'"):
            store.get_nodes(["false"])


def test_sync_and_async_have_the_same_parameters():
    for one in ("delete", "delete_nodes", "clear", "get_nodes", "query"):
        sync, other = getattr(WeftVectorStore, one), getattr(WeftVectorStore, f"a{one}")
        assert [*inspect.signature(sync).parameters.values()] == [
            *inspect.signature(other).parameters.values()
        ]
