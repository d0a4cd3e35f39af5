"""The official OpenAI client, unmodified, against a running service with the real encoder."""

import asyncio
import io

import numpy as np
import openai
import pytest
from running_service import ADMIN, running

from weft import Index, load_encoder

FERRY = "The ferry to the island leaves at nine and comes back at six."
BREAD = "Bread dough must rest for an hour before it is baked."
VIOLIN = "A violin has four strings, tuned in fifths."
LONG = "\n\n".join(f"Paragraph {n} is about the number {n} and nothing else." for n in range(60))


@pytest.fixture(scope="module")
def minilm():
    return load_encoder()


@pytest.fixture(scope="module")
def real(tmp_path_factory, minilm):
    with running(tmp_path_factory.mktemp("openai") / "root", encoder=minilm) as service:
        yield service


@pytest.fixture(scope="module")
def client(real):
    with openai.OpenAI(base_url=f"{real.url}/v1", api_key=ADMIN, max_retries=0) as client:
        yield client


def upload(client, name, text):
    return client.files.create(file=(name, text.encode()), purpose="assistants")


@pytest.fixture(scope="module")
def store(client):
    """A vector store of three files, made by the client's own helpers."""
    store = client.vector_stores.create(name="A manual, with spaces", metadata={"team": "docs"})
    for name, text, attributes in (
        ("ferry.txt", FERRY, {"year": 2020, "topic": "travel", "open": True}),
        ("bread.md", BREAD, {"year": 2021, "topic": "food", "open": False}),
        ("violin.txt", VIOLIN, {"year": 2022, "topic": "music", "open": True}),
    ):
        file = client.vector_stores.files.create_and_poll(
            upload(client, name, text).id,
            vector_store_id=store.id,
            attributes=attributes,
            poll_interval_ms=20,
        )
        assert file.status == "completed", file.last_error
    return store


def names(page):
    return [result.filename for result in page.data]


def test_a_search_finds_the_right_file(client, store):
    page = client.vector_stores.search(store.id, query="When does the boat leave?")
    first = page.data[0]
    assert (first.filename, first.content[0].text, first.content[0].type) == (
        "ferry.txt",
        FERRY,
        "text",
    )
    assert first.attributes == {"year": 2020, "topic": "travel", "open": True}
    scores = [result.score for result in page.data]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] <= 1


def test_scores_are_the_mean_cosine_that_the_engine_gives(client, store, minilm, tmp_path):
    query = "string instruments"
    with Index.create(tmp_path / "index", encoder=minilm) as index:
        index.add([VIOLIN])
        score = index.search(query)[0].score / len(index.encode_queries([query])[0])
    result = client.vector_stores.search(store.id, query=query, max_num_results=1).data[0]
    assert result.score == pytest.approx(score, abs=2e-3)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"type": "eq", "key": "topic", "value": "food"}, {"bread.md"}),
        ({"type": "ne", "key": "topic", "value": "food"}, {"ferry.txt", "violin.txt"}),
        ({"type": "gt", "key": "year", "value": 2020}, {"bread.md", "violin.txt"}),
        ({"type": "gte", "key": "year", "value": 2022}, {"violin.txt"}),
        ({"type": "lt", "key": "year", "value": 2021}, {"ferry.txt"}),
        ({"type": "lte", "key": "year", "value": 2021}, {"ferry.txt", "bread.md"}),
        ({"type": "in", "key": "year", "value": [2020, 2022]}, {"ferry.txt", "violin.txt"}),
        ({"type": "nin", "key": "year", "value": [2020, 2022]}, {"bread.md"}),
        ({"type": "eq", "key": "open", "value": False}, {"bread.md"}),
        (
            {
                "type": "or",
                "filters": [
                    {"type": "eq", "key": "topic", "value": "music"},
                    {
                        "type": "and",
                        "filters": [
                            {"type": "eq", "key": "open", "value": True},
                            {"type": "lt", "key": "year", "value": 2021},
                        ],
                    },
                ],
            },
            {"ferry.txt", "violin.txt"},
        ),
    ],
)
def test_filters_mean_what_they_mean_at_openai(client, store, filters, wanted):
    assert set(names(client.vector_stores.search(store.id, query="x", filters=filters))) == wanted


def test_options_of_a_search(client, store):
    search = client.vector_stores.search
    assert len(search(store.id, query="x", max_num_results=2).data) == 2
    scores = [result.score for result in search(store.id, query="ferry").data]
    options = {"ranker": "auto", "score_threshold": (scores[0] + scores[1]) / 2}
    assert len(search(store.id, query="ferry", ranking_options=options).data) == 1
    weights = {"hybrid_search": {"embedding_weight": 0, "text_weight": 1}}
    words = search(store.id, query="fifths", ranking_options=weights)
    assert names(words) == ["violin.txt"] and words.data[0].score == 1
    both = search(store.id, query=["the ferry's times", "baking bread"], max_num_results=2)
    assert set(names(both)) == {"ferry.txt", "bread.md"}


def test_stores_are_listed_looked_at_and_changed(client, store):
    assert client.vector_stores.retrieve(store.id).file_counts.completed == 3
    assert store.id in [found.id for found in client.vector_stores.list(limit=1)]
    changed = client.vector_stores.update(store.id, name="Manual", metadata={"team": "all"})
    assert (changed.name, changed.metadata) == ("Manual", {"team": "all"})
    again = client.vector_stores.retrieve(store.id)
    assert (again.name, again.status, again.object) == ("Manual", "completed", "vector_store")


def test_files_of_a_store(client, store):
    files = list(client.vector_stores.files.list(store.id, limit=2))
    assert len(files) == 3 and {file.status for file in files} == {"completed"}
    assert list(client.vector_stores.files.list(store.id, filter="failed")) == []
    ferry = next(f for f in files if f.attributes["topic"] == "travel")
    found = client.vector_stores.files.retrieve(ferry.id, vector_store_id=store.id)
    assert (found.usage_bytes, found.last_error) == (len(FERRY), None)
    content = client.vector_stores.files.content(ferry.id, vector_store_id=store.id)
    assert [part.text for part in content.data] == [FERRY]
    client.vector_stores.files.update(
        ferry.id, vector_store_id=store.id, attributes={**ferry.attributes, "seen": True}
    )
    seen = {"type": "eq", "key": "seen", "value": True}
    page = client.vector_stores.search(store.id, query="x", filters=seen)
    assert names(page) == ["ferry.txt"] and page.data[0].attributes["year"] == 2020


def test_uploads_are_listed_read_and_deleted(client):
    file = upload(client, "notes.txt", "some notes")
    assert (file.bytes, file.filename, file.purpose) == (10, "notes.txt", "assistants")
    assert client.files.retrieve(file.id).id == file.id
    assert file.id in [found.id for found in client.files.list(purpose="assistants", limit=2)]
    assert client.files.content(file.id).read() == b"some notes"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_a_deleted_file_is_found_no_more(client):
    file = upload(client, "a.txt", FERRY)
    store = client.vector_stores.create(name="short", file_ids=[file.id])
    done = client.vector_stores.files.poll(file.id, vector_store_id=store.id, poll_interval_ms=20)
    assert done.status == "completed"
    other = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("b.txt", BREAD.encode()), poll_interval_ms=20
    )
    assert client.vector_stores.files.delete(other.id, vector_store_id=store.id).deleted
    assert names(client.vector_stores.search(store.id, query="x")) == ["a.txt"]
    client.files.delete(file.id)
    assert client.vector_stores.search(store.id, query="x").data == []
    assert client.vector_stores.delete(store.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(store.id)


def test_batches_and_chunks_of_given_sizes(client):
    store = client.vector_stores.create(name="batch")
    static = {"max_chunk_size_tokens": 50, "chunk_overlap_tokens": 10}
    batch = client.vector_stores.file_batches.upload_and_poll(
        vector_store_id=store.id,
        files=[("long.txt", io.BytesIO(LONG.encode())), ("bread.txt", BREAD.encode())],
        chunking_strategy={"type": "static", "static": static},
        poll_interval_ms=20,
    )
    assert (batch.status, batch.file_counts.completed) == ("completed", 2)
    files = list(client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id))
    assert {file.chunking_strategy.static.max_chunk_size_tokens for file in files} == {50}
    long = max(files, key=lambda file: file.usage_bytes)
    content = client.vector_stores.files.content(long.id, vector_store_id=store.id)
    chunks = [part.text for part in content.data]
    assert len(chunks) > 10 and all(chunk in LONG for chunk in chunks)
    for n in range(60):
        assert any(f"the number {n} and" in chunk for chunk in chunks)
    found = client.vector_stores.search(store.id, query="the number 37", max_num_results=1)
    assert "number 37" in found.data[0].content[0].text


def test_a_file_that_cannot_be_read_says_why(client):
    file = client.files.create(file=("noise.txt", b"\xff\xfe\x00\x01"), purpose="assistants")
    store = client.vector_stores.create()
    done = client.vector_stores.files.create_and_poll(
        file.id, vector_store_id=store.id, poll_interval_ms=20
    )
    assert (done.status, done.last_error.code) == ("failed", "invalid_file")
    assert "noise.txt" in done.last_error.message and "content" not in done.last_error.message
    assert client.vector_stores.retrieve(store.id).file_counts.failed == 1


@pytest.mark.parametrize("kind", ["query", "document"])
def test_embeddings_are_one_vector_per_token(client, minilm, kind):
    encode = minilm.encode_queries if kind == "query" else minilm.encode_passages
    texts = ["warp and weft", "a loom"]
    wanted = encode(texts)
    for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        made = client.embeddings.create(
            model="default", input=texts, extra_body={"input_type": kind}, **form
        )
        for item, array in zip(made.data, wanted, strict=True):
            flat = item.embedding
            if isinstance(flat, str):
                import base64

                flat = np.frombuffer(base64.b64decode(flat), dtype="<f4")
            np.testing.assert_allclose(np.reshape(flat, item.shape), array, atol=1e-5)
        assert made.usage.total_tokens == sum(map(len, wanted))


def test_errors_are_those_of_the_client(client, store, real):
    with pytest.raises(openai.AuthenticationError) as wrong:
        openai.OpenAI(base_url=f"{real.url}/v1", api_key="nobody", max_retries=0).files.list()
    assert wrong.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="text-embedding-3-small", input="x")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    for call in (
        lambda: client.vector_stores.search(store.id, query="x", max_num_results=51),
        lambda: client.vector_stores.search(store.id, query="x", rewrite_query=True),
        lambda: client.vector_stores.search(store.id, query=""),
        lambda: client.vector_stores.search(store.id, query="x", filters={"type": "like"}),
        lambda: client.vector_stores.create(extra_body={"surprise": 1}),
        lambda: client.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1}),
        lambda: client.embeddings.create(model="default", input=[[1, 2]]),
        lambda: client.embeddings.create(model="default", input="x", dimensions=7),
        lambda: client.embeddings.create(model="default", input=LONG * 10),
        lambda: client.files.create(file=b"x", purpose="fine-tune"),
        lambda: client.vector_stores.files.list(store.id, after="file-none"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            call()
        assert refused.value.body["message"]


def test_the_asynchronous_client_does_the_same(real, store):
    async def work():
        async with openai.AsyncOpenAI(base_url=f"{real.url}/v1", api_key=ADMIN) as client:
            search = client.vector_stores.search
            queries = ["the ferry", "bread", "violins"] * 4
            pages = await asyncio.gather(*(search(store.id, query=q) for q in queries))
            return [page.data[0].filename for page in pages]

    assert asyncio.run(work()) == ["ferry.txt", "bread.md", "violin.txt"] * 4
