import math

import pytest

from weft.engine.evaluation.baselines import Bm25
from weft.engine.evaluation.metrics import measure

QRELS = {"a": {"x": 2, "y": 1, "z": 0}, "b": {"y": 1}}


def test_hand_computed_values() -> None:
    run = {
        "a": {"z": 9.0, "x": 8.0, "w": 7.0, "y": 6.0},
        "b": {f"w{i}": float(20 - i) for i in range(6)} | {"y": 1.0},
    }
    gain = 2 / math.log2(3) + 1 / math.log2(5)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    found = measure(QRELS, run)
    assert found["nDCG@10"] == pytest.approx((gain / ideal + 1 / math.log2(8)) / 2)
    assert found["MRR@10"] == pytest.approx((1 / 2 + 1 / 7) / 2)
    assert found["Success@5"] == pytest.approx((1 + 0) / 2)
    assert found["Recall@100"] == pytest.approx(1.0)


def test_a_query_without_a_ranking_counts_as_zero() -> None:
    found = measure(QRELS, {"b": {"y": 1.0}})
    assert set(found.values()) == {0.5}


def test_recall_stops_at_100() -> None:
    run = {"b": {f"w{i}": 1000.0 - i for i in range(100)} | {"y": 1.0}}
    assert measure({"b": {"y": 1}}, run)["Recall@100"] == 0.0


def test_bm25_agrees_with_the_formula() -> None:
    """Lucene's BM25 by hand: words that need no stemming, and no stop words."""
    documents = {"d1": "cat cat dog", "d2": "dog bird", "d3": "fish bird wolf lamb"}
    ranking = Bm25(documents).run({"q": "cat bird"}, 10).rankings["q"]
    n, k1, b = 3, 0.9, 0.4
    mean = (3 + 2 + 4) / 3

    def idf(df: int) -> float:
        return math.log(1 + (n - df + 0.5) / (df + 0.5))

    def weight(tf: int, length: int) -> float:
        return tf / (tf + k1 * (1 - b + b * length / mean))

    expected = {
        "d1": idf(1) * weight(2, 3),
        "d2": idf(2) * weight(1, 2),
        "d3": idf(2) * weight(1, 4),
    }
    assert ranking == pytest.approx(expected, rel=1e-5)


def test_bm25_leaves_out_documents_that_share_no_word() -> None:
    run = Bm25({"d1": "apples", "d2": "pears"}).run({"q": "An apple?", "r": "zebra"}, 5)
    assert set(run.rankings["q"]) == {"d1"}
    assert run.rankings["r"] == {}
    assert len(run.seconds) == 2 and run.median_milliseconds > 0
