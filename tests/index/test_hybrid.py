"""Hybrid search against both rankings fused by hand."""

import numpy as np
import pytest
from word_encoder import WordEncoder

from weft.engine.errors import InvalidInputError, InvalidParameterError, InvalidQueryError
from weft.engine.index import Index
from weft.engine.search.hybrid import Hybrid, make_hybrid

WORDS = [f"w{n}" for n in range(60)]
QUERY = "w1 w2 w3 w4 w59"


@pytest.fixture(scope="module", params=["flat", "coded", "both"])
def index(request, tmp_path_factory):
    rng = np.random.default_rng(3)
    root = tmp_path_factory.mktemp("hybrid") / "index"
    below = 10**9 if request.param == "flat" else 1
    with Index.create(root, encoder=WordEncoder(), bits=8, flat_below_tokens=below) as made:
        for part in range(2):
            texts = [
                " ".join(rng.choice(WORDS[:55], size=int(rng.integers(4, 60)))) for _ in range(150)
            ]
            made.add(
                texts,
                ids=[f"d{part}-{n:03}" for n in range(150)],
                metadata=[{"half": n % 2} for n in range(150)],
            )
            if part == 0 and request.param != "flat":
                made.compact()
        if request.param == "coded":
            made.compact()
        yield made


def by_words(index, **given):
    """Score by id of BM25 alone, which has its own oracle in `tests/search/test_bm25.py`."""
    return {hit.id: hit.score for hit in index.search(QUERY, 10_000, hybrid=0, **given)}


def by_vectors(index, k, **given):
    return {hit.id: hit.score for hit in index.search(QUERY, k, **given)}


def ranks(scores):
    """The rank of each id, equal scores having the same."""
    return {id: 1 + sum(other > score for other in scores.values()) for id, score in scores.items()}


def best(scores, n):
    """The n best, and those that tie with the last."""
    if len(scores) <= n:
        return scores
    last = sorted(scores.values(), reverse=True)[n - 1]
    return {id: score for id, score in scores.items() if score >= last}


@pytest.mark.parametrize("constant", [60, 7])
def test_reciprocal_ranks(index, constant):
    hybrid = Hybrid("rrf", rank_constant=constant, depth=30)
    wanted = {}
    for side in (best(by_vectors(index, 80), 30), best(by_words(index), 30)):
        for id, rank in ranks(side).items():
            wanted[id] = wanted.get(id, 0) + 1 / (constant + rank)
    hits = index.search(QUERY, 20, hybrid=hybrid)
    order = sorted(wanted.values(), reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(order[:20], abs=1e-7)
    assert all(hit.score == pytest.approx(wanted[hit.id], abs=1e-7) for hit in hits)


@pytest.mark.parametrize("weight", [0.25, 0.7, 1])
def test_weighted_scores(index, weight):
    words, listed = by_words(index), best(by_vectors(index, 80), 30)
    everywhere = by_vectors(index, 10_000, effort="exact")
    low, high = min(listed.values()), max(listed.values())
    wanted = {}
    for id in {*listed, *best(words, 30)}:
        share = min(max((listed.get(id, everywhere[id]) - low) / (high - low), 0), 1)
        wanted[id] = weight * share + (1 - weight) * words.get(id, 0)
    hits = index.search(QUERY, 20, hybrid={"weight": weight, "depth": 30})
    order = sorted(wanted.values(), reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(order[:20], abs=2e-3)
    assert all(hit.score == pytest.approx(wanted[hit.id], abs=2e-3) for hit in hits)


def test_what_only_words_find_has_its_best_passage(index):
    hits = index.search(QUERY, 300, hybrid="rrf")
    plain = {hit.id: hit for hit in index.search(QUERY, 10_000, effort="exact")}
    for hit in hits:
        assert hit.text[hit.passage.start : hit.passage.end] == hit.passage.text
        assert hit.passage.ordinal == plain[hit.id].passage.ordinal


@pytest.mark.parametrize("hybrid", ["rrf", "weighted", 0, 1, {"depth": 5}])
def test_filters_hold_for_both_sides(index, hybrid):
    hits = index.search(QUERY, 300, hybrid=hybrid, filter={"half": 1})
    assert hits and all(hit.metadata["half"] == 1 for hit in hits)
    wanted = by_words(index, filter={"half": 1})
    if hybrid == 0:
        assert {hit.id for hit in hits} == set(wanted)


def test_passages_have_the_words_of_their_document(index):
    words = by_words(index)
    hits = index.search(QUERY, 2000, hybrid=0, group_by="passage")
    assert len({(hit.id, hit.passage.ordinal) for hit in hits}) == len(hits)
    assert {hit.id for hit in hits} == set(words)
    assert all(hit.score == pytest.approx(words[hit.id], rel=1e-5) for hit in hits)


def test_a_batch_is_its_queries_one_by_one(index):
    queries = [QUERY, "w7 w8", "w59"]
    one_by_one = [index.search(query, 7, hybrid="weighted", threads=1) for query in queries]
    assert index.search_batch(queries, 7, hybrid="weighted") == one_by_one
    vectors = index.encode_queries(queries)
    assert index.search_batch(vectors, 7, hybrid="weighted", query_texts=queries) == one_by_one


def test_vectors_need_words_as_well(index):
    vectors = index.encode_queries([QUERY])[0]
    with pytest.raises(InvalidQueryError, match="query_text"):
        index.search(vectors, hybrid="rrf")
    with pytest.raises(InvalidQueryError, match="query_texts"):
        index.search_batch([vectors, QUERY], hybrid="rrf", query_texts=[None, None])
    found = index.search(vectors, hybrid="rrf", query_text=QUERY)
    assert found == index.search(QUERY, hybrid="rrf")
    other = index.search(QUERY, hybrid=0, query_text="w20")
    assert {hit.id for hit in other} == {hit.id for hit in index.search("w20", hybrid=0)}


@pytest.mark.parametrize("texts", ["w1", ["w1"], [1, 2], ["", "w1"], 7])
def test_texts_that_fit_no_batch(index, texts):
    with pytest.raises(InvalidQueryError):
        index.search_batch(["w1", "w2"], hybrid="rrf", query_texts=texts)


def test_a_text_without_hybrid_is_refused(index):
    with pytest.raises(InvalidParameterError, match="hybrid"):
        index.search(QUERY, query_text="w1")


@pytest.mark.parametrize(
    "value",
    [
        "RRF", "bm25", "", True, False, -0.1, 1.1, float("nan"), float("inf"), 10**400, [], b"rrf",
        {"fusion": "sum"}, {"weight": "0.5"}, {"rank_constant": 0}, {"depth": 0}, {"alpha": 0.5},
        {"fusion": "rrf", "weight": 0.5}, {"weight": 0.5, "rank_constant": 9}, {"depth": 10_001},
        {"fusion": ["rrf"]}, {1: 2},
    ],
)  # fmt: skip
def test_values_that_are_not_understood(index, value):
    with pytest.raises(InvalidParameterError, match=r"hybrid|weight|rank_constant"):
        index.search(QUERY, hybrid=value)


def test_forms_that_mean_the_same():
    assert make_hybrid(0.3) == make_hybrid({"weight": 0.3}) == Hybrid("weighted", weight=0.3)
    assert make_hybrid("rrf") == make_hybrid({}) == make_hybrid(Hybrid()) == Hybrid()
    assert make_hybrid(None) is None


def test_an_index_without_text_says_so(tmp_path):
    with Index.create(tmp_path / "index", dim=4) as index:
        rows = np.eye(4, dtype=np.float32)
        assert index.search(rows, hybrid="rrf", query_text="w1") == []
        index.add(ids=["a"], embeddings=[rows])
        with pytest.raises(InvalidInputError, match="no document of the index has any"):
            index.search(rows, hybrid="rrf", query_text="w1")


def test_words_that_stand_nowhere_leave_late_interaction(index):
    hits = index.search("zzz yyy", 10, hybrid="rrf")
    assert [hit.id for hit in hits] == [hit.id for hit in index.search("zzz yyy", 10)]
    assert index.search("zzz yyy", 10, hybrid=0) == []
