"""Searches that are hostile or cannot be answered: 4xx with a reason, and nothing is written."""

import base64
import json

import numpy as np
import pytest
from running_service import nested, refused

JSON = {"Content-Type": "application/json"}


def nested_openai(depth):
    inner = {"type": "eq", "key": "a", "value": 1}
    for _ in range(depth):
        inner = {"type": "and", "filters": [inner]}
    return inner


def search(client, **body):
    return client.post("/v1/collections/threads/search", json=body)


@pytest.mark.parametrize(
    "body",
    [
        {"query": "x", "k": 0},
        {"query": "x", "k": -1},
        {"query": "x", "k": 1001},
        {"query": "x", "k": 10**30},
        {"query": "x", "k": 1.5},
        {"query": "x", "k": "10"},
        {"query": "x", "k": True},
        {"query": "x", "k": None},
        {"query": "x", "surprise": 1},
        {"query": "x", "threads": 64},
        {"query": "x", "effort": "most"},
        {"query": "x", "effort": "exact", "exact": False},
        {"query": "x", "nprobe": 0},
        {"query": "x", "ndocs": 10**9},
        {"query": "x", "hybrid": "best"},
        {"query": "x", "hybrid": 1.5},
        {"query": "x", "hybrid": True},
        {"query": "x", "hybrid": {"weight": 0.5, "fusion": "rrf"}},
        {"embeddings": [[1.0] * 32], "hybrid": "rrf"},
        {"query": "x", "group_by": "chunk"},
        {"query": "x", "fields": ["vectors"]},
        {"query": ""},
        {"query": "  "},
        {"query": 7},
        {"query": "x" * 100_001},
        {"query": "x", "embeddings": [[1.0] * 32]},
        {},
        {"embeddings": []},
        {"embeddings": [[]]},
        {"embeddings": [[1.0] * 31]},
        {"embeddings": [[1.0] * 32, [1.0]]},
        {"embeddings": [["1"] * 32]},
        {"embeddings": [[True] * 32]},
        {"embeddings": [[1e300] * 32]},
        {"embeddings": [[1e38] * 32]},
        {"embeddings": "not base64!"},
        {"embeddings": base64.b64encode(b"abc").decode()},
        {"embeddings": base64.b64encode(np.full(32, np.nan, "<f4").tobytes()).decode()},
        {"embeddings": base64.b64encode(np.full(32, np.inf, "<f4").tobytes()).decode()},
        {"embeddings": base64.b64encode(np.ones((5000, 32), "<f4").tobytes()).decode()},
        {"query": "x", "filter": nested(17, {"year": 1})},
        {"query": "x", "filter": nested(150, {"year": 1})},
        {"query": "x", "filter": {"year": {"$in": list(range(2000))}}},
        {"query": "x", "filter": {"$where": "1"}},
        {"query": "x", "filter": {"year": {"$gt": None}}},
        {"query": "x", "filter": {"": 1}},
        {"query": "x", "filter": []},
        {"query": "x", "filter": {"$or": [{"a": 1}] * 1100}},
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_searches_that_cannot_be_answered(unchanged, body):
    refused(search(unchanged, **body))


@pytest.mark.parametrize(
    "query",
    [
        *(
            '"',
            '""',
            "'",
            "*",
            "a*",
            "^a",
            "-",
            "- -",
            "NOT",
            "a AND",
            "OR b",
            "NEAR(",
            "NEAR(a b, 9)",
        ),
        *(
            "text:a",
            "{a b}:c",
            "a + b",
            "(((",
            ")",
            "a\0b",
            "%",
            "_",
            ";",
            "'; DROP TABLE passages; --",
        ),
        *(
            "\ufffe",
            "\u202e",
            "\U0010ffff",
            "a" * 50_000,
            "a " * 40_000,
            '"a ' * 20_000,
            "(" * 20_000,
        ),
    ],
    ids=lambda query: repr(query)[:24],
)
def test_words_that_mean_something_to_full_text_search_are_words(unchanged, query):
    weights = {"hybrid_search": {"embedding_weight": 1, "text_weight": 1}}
    answers = (
        search(unchanged, query=query, hybrid="rrf"),
        search(unchanged, query="thread", hybrid=0.5, query_text=query),
        unchanged.post(
            "/v1/vector_stores/threads/search", json={"query": query, "ranking_options": weights}
        ),
    )
    for answer in answers:
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 400:
            refused(answer)


@pytest.mark.parametrize(
    "filters",
    [
        nested_openai(17),
        nested_openai(90),
        {"type": "and", "filters": []},
        {"type": "and", "filters": [{"type": "eq", "key": "a", "value": 1}] * 1100},
        {"type": "eq", "key": "$where", "value": 1},
        {"type": "eq", "key": "", "value": 1},
        {"type": "eq", "key": "a"},
        {"type": "eq", "key": "a", "value": 1, "more": 1},
        {"type": "in", "key": "a", "value": "text"},
        {"type": "gt", "key": "a", "value": True},
        {"type": ["eq"], "key": "a", "value": 1},
        {},
    ],
    ids=lambda filters: json.dumps(filters)[:40],
)
def test_filters_of_openai_that_are_not_understood(unchanged, filters):
    body = {"query": "x", "filters": filters}
    refused(unchanged.post("/v1/vector_stores/threads/search", json=body))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"query": "x"} trailing',
        b'{"query": "\xff"}',
        b'{"query": "\\ud800"}',
        b'{"query": NaN}',
        b'{"query": "x", "centroid_score_threshold": 1e999, "algorithm": "plaid"}',
        b"[" * 100_000,
        b'{"filter":' * 5000,
        b'{"query": "x", "k": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_bodies_that_are_no_search(unchanged, data):
    path = "/v1/collections/threads/search"
    refused(unchanged.post(path, content=data, headers=JSON))
