"""`langchain_core.indexing.index` keeps stores and document indexes in step with their source."""

import pytest
from adapter_indexes import draining
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from word_encoder import WordEncoder

from weft.integrations.langchain import WeftDocumentIndex, WeftVectorStore

MODES = [None, "incremental", "full", "scoped_full"]


@pytest.fixture(params=["store", "document index", "queued store", "queued document index"])
def destination(request, word_index):
    kind = WeftVectorStore if request.param.endswith("store") else WeftDocumentIndex
    if not request.param.startswith("queued"):
        yield kind(word_index)
        return
    with draining(word_index.path, WordEncoder()):
        yield kind(word_index, queue=True)


@pytest.fixture(params=["sync", "async"])
def keep(request, destination):
    """`index` or `aindex`, with what they share."""
    records = InMemoryRecordManager("tests")
    records.create_schema()
    more = {"source_id_key": "source", "key_encoder": "sha256"}

    async def run(documents, **given):
        if request.param == "sync":
            return index(documents, records, destination, **(more | given))
        return await aindex(documents, records, destination, **(more | given))

    return run


def page(text, source="book", **metadata):
    return Document(page_content=text, metadata={"source": source, **metadata})


def contents(destination):
    found = [destination.index.get(id) for id in destination.index.ids()]
    return sorted((document.text, document.metadata["source"]) for document in found)


FIRST = [page("one"), page("two"), page("three"), page("four", "other")]
SECOND = [page("one"), page("two changed"), page("three")]
EXPECTED = {
    None: ["four", "one", "three", "two", "two changed"],
    "incremental": ["four", "one", "three", "two changed"],
    "scoped_full": ["four", "one", "three", "two changed"],
    "full": ["one", "three", "two changed"],
}


def result(added=0, updated=0, skipped=0, deleted=0):
    return {
        "num_added": added,
        "num_updated": updated,
        "num_skipped": skipped,
        "num_deleted": deleted,
    }


@pytest.mark.parametrize("cleanup", MODES)
async def test_every_mode(destination, keep, cleanup):
    assert await keep(FIRST, cleanup=cleanup) == result(added=4)
    assert await keep(FIRST, cleanup=cleanup) == result(skipped=4)
    deleted = len(FIRST) + 1 - len(EXPECTED[cleanup])
    assert await keep(SECOND, cleanup=cleanup) == result(added=1, skipped=2, deleted=deleted)
    assert [text for text, _ in contents(destination)] == EXPECTED[cleanup]
    assert await keep(SECOND, cleanup=cleanup) == result(skipped=3)
    found = destination.index.search("changed", 1)[0]
    assert found.text == "two changed" and found.metadata == {"source": "book"}


async def test_full_clean_up_of_an_empty_source_removes_all(destination, keep):
    await keep(FIRST, cleanup="full")
    assert await keep([], cleanup="full") == result(deleted=4)
    assert contents(destination) == []


async def test_forced_updates_write_again(destination, keep):
    await keep(FIRST)
    before = destination.index.stats().generation
    assert await keep(FIRST, force_update=True, batch_size=2) == result(updated=4)
    assert destination.index.stats().generation == before + 2


async def test_arguments_for_the_write_are_handed_on(destination, keep):
    assert (await keep(FIRST, upsert_kwargs={"wait": True}))["num_added"] == 4
    with pytest.raises(ValueError, match="namespace"):
        await keep([page("five")], upsert_kwargs={"namespace": "x"})


async def test_what_fails_to_be_written_is_not_recorded(destination, keep):
    bad = page("two", nested={"when": {1, 2}})
    with pytest.raises(ValueError, match=r"set|serializ"):
        await keep([bad], key_encoder=lambda document: document.page_content)
    good = page("two")
    done = await keep([good], key_encoder=lambda document: document.page_content)
    assert done == result(added=1)
