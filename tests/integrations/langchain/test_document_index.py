"""The document index beside what the public suites say of it."""

import inspect

import pytest
from langchain_core.documents import Document

from weft.engine.errors import InvalidDocumentError, InvalidParameterError
from weft.integrations.langchain import WeftDocumentIndex


async def test_upsert_get_delete(documents, fabrics):
    new = [Document(id="silk", page_content="rayon"), Document(page_content="nylon")]
    before = [document.model_copy(deep=True) for document in new]
    response = documents.upsert(new)
    assert response["succeeded"][0] == "silk" and response["failed"] == []
    assert new == before
    assert documents.get(["silk"]) == [new[0]]
    assert await documents.aget(["silk", "silk", "x", "warp"]) == [new[0], fabrics[0]]
    assert documents.invoke("rayon", k=1) == [new[0]]
    response = await documents.aupsert([Document(id="silk", page_content="velvet")])
    assert response == {"succeeded": ["silk"], "failed": []}
    gone = {"num_deleted": 1, "succeeded": ["silk"], "num_failed": 0, "failed": []}
    assert documents.delete(["silk", "x", "silk"]) == gone
    assert (await documents.adelete(["silk"]))["num_deleted"] == 0
    assert documents.upsert([]) == {"succeeded": [], "failed": []}
    assert documents.delete([])["num_deleted"] == 0


async def test_deleting_without_ids_is_refused(documents):
    for wrong in (
        documents.delete,
        lambda: documents.delete(None),
        lambda: documents.delete(ids=None),
    ):
        with pytest.raises(InvalidParameterError, match="WeftVectorStore"):
            wrong()
    with pytest.raises(ValueError, match="WeftVectorStore"):
        await documents.adelete()
    assert documents.index.count() == 5


async def test_what_is_not_understood_raises(documents, tmp_path):
    for call in (documents.upsert, documents.delete, documents.get):
        with pytest.raises(InvalidParameterError, match="namespace"):
            call([], namespace="x")
    for call in (documents.aupsert, documents.adelete, documents.aget):
        with pytest.raises(InvalidParameterError, match="namespace"):
            await call([], namespace="x")
    with pytest.raises(InvalidParameterError, match="ids"):
        documents.upsert([], ids=["a"])
    with pytest.raises(InvalidDocumentError, match="str"):
        documents.upsert(["a text"])
    with pytest.raises(InvalidParameterError, match="namespace"):
        WeftDocumentIndex(documents.index, namespace="x")
    with pytest.raises(InvalidParameterError, match="wait=False"):
        documents.upsert([Document(page_content="a")], wait=False)


@pytest.mark.parametrize("name", ["upsert", "delete", "get", "invoke", "batch"])
def test_sync_and_async_have_the_same_signature(name):
    def parameters(of):
        return [(p.name, p.kind, p.default) for p in inspect.signature(of).parameters.values()]

    assert parameters(getattr(WeftDocumentIndex, name)) == parameters(
        getattr(WeftDocumentIndex, "a" + name)
    )


def test_a_folder_becomes_an_index(tmp_path):
    from word_encoder import WordEncoder

    documents = WeftDocumentIndex(tmp_path / "index", encoder=WordEncoder(), k=1)
    documents.upsert([Document(id="a", page_content="warp"), Document(id="b", page_content="weft")])
    assert [document.id for document in documents.invoke("weft")] == ["b"]
    documents.index.close()
