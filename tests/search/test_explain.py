"""Explanations against MaxSim taken apart by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_oracle import maxsim

from weft.engine.encoder.base import Token
from weft.engine.errors import DimensionMismatchError, InvalidEmbeddingError
from weft.engine.search.explain import explain


def tokens(n, name):
    return [Token(f"{name}{i}", 3 * i, 3 * i + 2) for i in range(n)]


def vectors(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(1, 40), st.integers(0, 9))
def test_each_query_token_meets_its_best_and_the_sum_is_the_score(n_query, n_passage, dim, seed):
    query, passage = vectors(n_query, dim, seed), vectors(n_passage, dim, seed + 100)
    query_tokens, passage_tokens = tokens(n_query, "q"), tokens(n_passage, "p")
    explanation = explain(query_tokens, query, passage_tokens, passage)
    assert [match.query_token for match in explanation.matches] == query_tokens
    for match, row in zip(explanation.matches, query.astype(np.float64), strict=True):
        dots = {token: float(row @ p) for token, p in zip(passage_tokens, passage, strict=True)}
        assert match.contribution == pytest.approx(max(dots.values()), abs=1e-5)
        assert dots[match.passage_token] == pytest.approx(max(dots.values()), abs=1e-5)
        assert (match.start, match.end) == (match.passage_token.start, match.passage_token.end)
    assert explanation.total == pytest.approx(maxsim(query, passage), abs=1e-4)
    assert explanation.total == pytest.approx(sum(m.contribution for m in explanation.matches))


def test_negative_contributions_stay_negative():
    row = vectors(1, 8, 0)
    explanation = explain(tokens(1, "q"), -row, tokens(1, "p"), row)
    assert explanation.total == pytest.approx(-1)


def test_the_first_of_equals_is_taken():
    row = vectors(1, 8, 0)
    explanation = explain(tokens(1, "q"), row, tokens(3, "p"), np.repeat(row, 3, axis=0))
    assert explanation.matches[0].passage_token.text == "p0"


def test_tokens_and_vectors_must_fit():
    query, passage = vectors(2, 8, 0), vectors(3, 8, 1)
    with pytest.raises(InvalidEmbeddingError, match="query"):
        explain(tokens(1, "q"), query, tokens(3, "p"), passage)
    with pytest.raises(InvalidEmbeddingError, match="passage"):
        explain(tokens(2, "q"), query, tokens(4, "p"), passage)
    with pytest.raises(InvalidEmbeddingError, match="passage"):
        explain(tokens(2, "q"), query, [], passage[:0])
    with pytest.raises(DimensionMismatchError):
        explain(tokens(2, "q"), query, tokens(3, "p"), vectors(3, 9, 1))
