"""Search against brute force, on flat and on coded indexes."""

import numpy as np
import pytest
from brute_force import BruteForce, corpus, same_ranking

from weft import Index

# At 8 bits a token's score is off by about the bucket width, a query has up to nine tokens.
TOLERANCE = {"flat": 2e-3, "coded": 0.1}


def check(index, oracle, query, k, kind, *, among=None, **arguments):
    expected = {"scores": oracle.scores(query, among), "best": oracle.best(query, k, among)}
    hits = index.search(query, k, **arguments)
    assert same_ranking(hits, expected, TOLERANCE[kind]), (hits, expected["best"])


def test_the_kind_is_what_it_says(filled, kind):
    index, _ = filled
    with index.snapshot() as view:
        assert {segment.kind for segment in view.segments} == {kind}


def test_search_is_brute_force(filled, queries, kind):
    index, oracle = filled
    for query in queries:
        check(index, oracle, query, 10, kind)


def test_exact_search_is_brute_force(filled, queries, kind):
    index, oracle = filled
    for query in queries:
        check(index, oracle, query, 25, kind, exact=True)


def test_all_of_them_when_k_is_larger_than_the_index(filled, queries, kind):
    index, oracle = filled
    hits = index.search(queries[0], 1000)
    assert sorted(hit.id for hit in hits) == sorted(oracle.documents)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_two_of_two(tmp_path, encoder):
    index = Index.create(tmp_path / "index", encoder=encoder, flat_below_tokens=1)
    index.add(["warp", "weft"], ids=["a", "b"])
    index.compact()
    assert {hit.id for hit in index.search("nothing alike", 2)} == {"a", "b"}


def test_filters_come_before_scoring(filled, queries, kind):
    index, oracle = filled
    among = {f"d{i:03}" for i in range(20)}
    for query in queries:
        check(index, oracle, query, 10, kind, among=among, filter={"n": {"$lt": 20}})
    even = {f"d{i:03}" for i in range(0, 300, 2)}
    check(index, oracle, queries[0], 10, kind, among=even, filter={"even": True})
    assert index.search(queries[0], 10, filter={"n": 1000}) == []


def test_after_delete_and_upsert(filled, queries, kind):
    index, oracle = filled
    gone = [f"d{i:03}" for i in range(0, 300, 3)]
    index.delete(gone)
    oracle.delete(gone)
    fresh = corpus(30, seed=5)
    ids = [f"d{i:03}" for i in range(1, 61, 2)]
    index.upsert(fresh, ids=ids)
    oracle.add(ids, fresh)
    for query in queries:
        check(index, oracle, query, 10, kind)
    index.compact()
    for query in queries:
        check(index, oracle, query, 10, kind)


def test_a_batch_gives_what_single_searches_give(filled, queries):
    index, _ = filled
    assert index.search_batch(queries, 7) == [index.search(query, 7) for query in queries]


def test_vectors_and_text_give_the_same(filled, queries):
    index, _ = filled
    vectors = index.encode_queries(queries)
    assert index.search_batch(vectors, 7) == index.search_batch(queries, 7)


def test_negative_scores_are_not_clamped(tmp_path):
    index = Index.create(tmp_path / "index", dim=4)
    row = np.eye(4, dtype=np.float32)[:1]
    index.add(["x"], ids=["x"], embeddings=[row])
    assert index.search(-row)[0].score == pytest.approx(-1, abs=1e-3)


@pytest.fixture
def books(tmp_path, encoder):
    """Three documents of several passages each."""
    index = Index.create(tmp_path / "books", encoder=encoder)
    texts = [" ".join(corpus(6, seed=s, length=(20, 30))) for s in (1, 2, 3)]
    index.add(texts, ids=["a", "b", "c"])
    return index, texts


def test_a_hit_is_the_whole_document_with_its_best_passage(books, encoder):
    index, texts = books
    spans = encoder.split(texts[1])
    assert len(spans) > 2
    wanted = texts[1][slice(*spans[2])]
    hit = index.search(wanted, 1)[0]
    assert (hit.id, hit.text) == ("b", texts[1])
    assert (hit.passage.start, hit.passage.end) == spans[2]
    assert (hit.passage.ordinal, hit.passage.text) == (2, wanted)


def test_grouping_by_passage_and_by_document(books, encoder):
    index, texts = books
    passages = index.search("w1 w2 w3", 1000, group_by="passage")
    assert len(passages) == sum(len(encoder.split(text)) for text in texts)
    assert len({(h.id, h.passage.ordinal) for h in passages}) == len(passages)
    documents = index.search("w1 w2 w3", 1000)
    assert sorted(hit.id for hit in documents) == ["a", "b", "c"]
    best = {h.id: h.score for h in reversed(passages)}
    assert {h.id: h.score for h in documents} == best


def test_equal_scores_come_in_the_order_of_ids(tmp_path, encoder):
    index = Index.create(tmp_path / "index", encoder=encoder)
    for id in ("c", "a", "d", "b"):
        index.add(["the very same words"], ids=[id])
    assert [hit.id for hit in index.search("same words", 4)] == ["a", "b", "c", "d"]
    assert [hit.id for hit in index.search("same words", 2)] == ["a", "b"]


def test_explain_adds_up_and_points_at_characters(filled, queries, kind):
    index, _ = filled
    for query in queries[:4]:
        hit = index.search(query, 1)[0]
        explanation = index.explain(query, hit.id)
        assert explanation.total == pytest.approx(hit.score, abs=1e-3)
        assert sum(m.contribution for m in explanation.matches) == pytest.approx(
            explanation.total, abs=1e-4
        )
        for match in explanation.matches:
            if match.contribution > 0.95:
                piece = hit.text[match.start : match.end]
                assert piece.lower() == match.query_token.text.lower()


def test_the_oracle_itself(encoder):
    oracle = BruteForce(encoder)
    oracle.add(["a", "b"], ["warp weft", "loom"])
    assert oracle.best("weft", 2)[0] == ("a", pytest.approx(1.0))
