"""BM25 over segments against BM25 over a list of documents, written out from the formula."""

import math
import re
import sqlite3
from collections import Counter

import numpy as np
import pytest
from word_encoder import WordEncoder

from weft.engine.index import Index
from weft.engine.search import bm25
from weft.engine.search.bm25 import best_documents_by_words, word_scores
from weft.engine.storage.fulltext import split_words

K1, B = 1.2, 0.75
WORDS = ["loom", "looms", "weave", "weaving", "thread", "Threads", "cloth", "the", "a", "dyed"]
HOSTILE = [
    '"unbalanced', "loom AND", "NOT thread OR", "NEAR(loom thread, 2)", "text:loom", "loom*",
    "^loom", "(((", "{a b}", "-loom", "loom\0thread", "' OR 1=1 --", "🧵 loom 🧵", "%", "+",
    "x " * 4000, "loom " * 2000, "‮mool", "ﬁ ﬂ", "ΑΒΓ δ", "漢字 仮名",
]  # fmt: skip


def texts(n, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=int(rng.integers(1, 30)))) for _ in range(n)]


def tokens(text):
    """The words of a text as SQLite's own tokenizer makes them, by another way than ours."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute(
            "CREATE VIRTUAL TABLE t USING fts5(x, tokenize='porter unicode61 remove_diacritics 2')"
        )
        found = []
        for word in re.findall(r"\w+", text):
            connection.execute("DELETE FROM t")
            connection.execute("INSERT INTO t VALUES (?)", (word,))
            connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, row)")
            found += [term for (term,) in connection.execute("SELECT term FROM v")]
            connection.execute("DROP TABLE v")
        return found


def oracle(documents, query):
    """Scores by id, as Robertson and Zaragoza define them with Lucene's idf."""
    bags = {id: Counter(tokens(text)) for id, text in documents.items()}
    mean = sum(sum(bag.values()) for bag in bags.values()) / len(bags)
    scores = dict.fromkeys(bags, 0.0)
    for word, times in Counter(tokens(query)).items():
        n_with = sum(word in bag for bag in bags.values())
        idf = math.log(1 + (len(bags) - n_with + 0.5) / (n_with + 0.5))
        for id, bag in bags.items():
            length = sum(bag.values()) / mean
            count = bag[word]
            scores[id] += times * idf * count / (count + K1 * (1 - B + B * length))
    return scores


def scores_of(index, query):
    with index.snapshot() as view:
        found = word_scores(split_words(query), view.segments)
        return {
            id: float(scores[docno])
            for segment, scores in zip(view.segments, found, strict=True)
            for docno, id in enumerate(segment.passages.ids())
            if segment.is_alive(docno)
        }


@pytest.fixture
def index(tmp_path):
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as made:
        yield made


def filled(index):
    """Three segments, some documents replaced and some deleted: what is left, by id."""
    documents = {}
    for number in range(3):
        part = {f"d{number}-{n}": text for n, text in enumerate(texts(25, number))}
        index.add(list(part.values()), ids=list(part))
        documents |= part
    gone = [f"d{n}-{m}" for n in range(3) for m in (0, 7, 12)]
    index.delete(gone)
    changed = {"d0-3": "loom loom cloth", "d2-5": "nothing of the kind"}
    index.upsert(list(changed.values()), ids=list(changed))
    return {id: text for id, text in (documents | changed).items() if id not in gone}


@pytest.mark.parametrize("query", ["the loom", "weaving a dyed thread", "cloth cloth loom", "zzz"])
def test_scores_are_those_of_one_collection(index, query):
    documents = filled(index)
    wanted = oracle(documents, query)
    found = scores_of(index, query)
    assert found.keys() == wanted.keys()
    for id, score in wanted.items():
        assert found[id] == pytest.approx(score, rel=1e-12, abs=1e-15), id


def test_compaction_changes_no_bit_of_them(index):
    documents = filled(index)
    before = scores_of(index, "the weaving of dyed looms")
    index.compact()
    assert index.stats().n_segments == 1
    after = scores_of(index, "the weaving of dyed looms")
    assert after == before and after.keys() == documents.keys()


def test_a_ranking_by_words_alone_is_the_oracles(index):
    documents = filled(index)
    query = "dyed weaving looms"
    wanted = oracle(documents, query)
    best = max(wanted.values())
    hits = index.search(query, k=200, hybrid=0)
    assert {hit.id for hit in hits} == {id for id, score in wanted.items() if score > 0}
    for hit in hits:
        assert hit.score == pytest.approx(wanted[hit.id] / best, rel=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("query", HOSTILE)
def test_queries_are_words_and_never_syntax(index, query):
    documents = {"a": "loom and thread", "b": "or not near", "c": "漢字 δ e fi"}
    index.add(list(documents.values()), ids=list(documents))
    wanted = oracle(documents, query.replace("\0", " "))
    found = scores_of(index, query)
    for id, score in wanted.items():
        assert found[id] == pytest.approx(score, rel=1e-9, abs=1e-12)
    for hybrid in ("rrf", "weighted"):
        assert len(index.search(query, hybrid=hybrid)) == 3


def test_splitting_agrees_with_the_tokenizer():
    text = "The Weavers' looms, re-dyed; café CAFÉS naïve 3.14 x_y"
    assert split_words(text) == Counter(tokens(text))
    assert split_words("… !? \0") == {}


def test_the_commonest_words_are_left_out_beyond_the_bound(index, monkeypatch):
    index.add(["the loom", "the cloth", "the thread", "the the dye"], ids=list("abcd"))
    monkeypatch.setattr(bm25, "MAX_POSTINGS", 4)
    found = scores_of(index, "the loom")  # one document with loom, four with the
    assert found["a"] > 0 and found["b"] == found["c"] == found["d"] == 0
    monkeypatch.setattr(bm25, "MAX_POSTINGS", 5)
    assert min(scores_of(index, "the loom").values()) > 0


def test_only_the_first_words_of_a_long_query_count(index, monkeypatch):
    index.add(["loom", "cloth"], ids=list("ab"))
    monkeypatch.setattr(bm25, "MAX_WORDS", 2)
    found = scores_of(index, "x loom cloth")
    assert found["a"] > 0 and found["b"] == 0


def test_all_that_tie_with_the_last_are_kept():
    scores = [np.array([0.0, 2.0, 1.0]), np.array([1.0, 3.0, 1.0])]
    found = best_documents_by_words(scores, None, 3)
    assert [rows.tolist() for rows in found] == [[1, 2], [0, 1, 2]]
    masks = [np.array([True, False, True]), np.array([True, True, False])]
    found = best_documents_by_words(scores, masks, 1)
    assert [rows.tolist() for rows in found] == [[], [1]]
