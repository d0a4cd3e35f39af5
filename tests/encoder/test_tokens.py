"""Tokens stand row for row beside the vectors and point at the right characters."""

import unicodedata
from itertools import pairwise

import pytest
from checkpoints import TEXTS, hf_colbert, plain, pylate

from weft.engine.encoder import load_encoder

HARD = [
    "Café naïve",
    "e\u0301te\u0301 caf\u0065\u0301 loom",
    "🙂 loom 👩‍👩‍👧 wing🙂",
    "日本語の文章 loom",
    "שלום loom",
    "a\x00b\x7floom",
    "İstanbul ﬁne ﷺ loom",
    "\u200bloom\u200e \ufeffwing",
    "loom\r\n\twing",
    "[SEP] [MASK] [PAD] [unused0] <mask>",
    "x" * 300,
]
MADE = {
    "hf": lambda path: hf_colbert(path),
    "hf, long": lambda path: hf_colbert(path, doc_maxlen=12, query_maxlen=12),
    "pylate": lambda path: pylate(path, [{"out_features": 8}]),
    "pylate, no expansion": lambda path: pylate(
        path, [{"out_features": 8}], settings={"do_query_expansion": False, "query_prefix": ""}
    ),
    "plain": lambda path: plain(path),
    "plain, unigram": lambda path: plain(path, "xlm-roberta"),
}


@pytest.fixture(params=MADE)
def encoder(request, tmp_path):
    return load_encoder(MADE[request.param](tmp_path / "c").folder)


def test_tokens_stand_beside_rows(encoder):
    texts = [*TEXTS, *HARD]
    passages = encoder.encode_passages(texts)
    queries = encoder.encode_queries(texts)
    for text, passage, query in zip(texts, passages, queries, strict=True):
        assert len(passage) >= 1
        for tokens, rows in (
            (encoder.passage_tokens(text), passage),
            (encoder.query_tokens(text), query),
        ):
            assert len(tokens) == len(rows)
            for token in tokens:
                assert 0 <= token.start <= token.end <= len(text)
                if token.start < token.end:
                    assert token.text == text[token.start : token.end]
                    assert not token.text.strip() or token.text == token.text.strip()
                else:
                    assert token.text


def folded(text):
    """Lower case without accents: what an uncased vocabulary spells."""
    kept = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return "".join(kept).lower()


@pytest.mark.parametrize(
    "text", ["Café wing", "e\u0301te\u0301 LOOM", "Ünïcödé A\u030angström fox"]
)
def test_folding_shifts_no_span(tmp_path, text):
    encoder = load_encoder(hf_colbert(tmp_path / "c").folder)
    tokens = [token for token in encoder.passage_tokens(text) if token.start < token.end]
    spelled = "".join(folded(token.text) for token in tokens)
    assert spelled == folded(text).replace(" ", "")
    for before, after in pairwise(tokens):
        assert before.end <= after.start


def test_markers_punctuation_and_masks(tmp_path):
    encoder = load_encoder(hf_colbert(tmp_path / "c").folder)
    text = "Wing, loom!"
    assert [(t.text, t.start, t.end) for t in encoder.passage_tokens(text)] == [
        ("[CLS]", 0, 0),
        ("[unused1]", 0, 0),
        ("Wing", 0, 4),
        ("loom", 6, 10),
        ("[SEP]", 11, 11),
    ]
    tokens = encoder.query_tokens(text)
    assert [t.text for t in tokens[:7]] == ["[CLS]", "[unused0]", "Wing", ",", "loom", "!", "[SEP]"]
    assert {(t.text, t.start, t.end) for t in tokens[7:]} == {("[MASK]", 11, 11)}
    assert len(tokens) == 16


def test_unigram_spans_leave_the_space_out(tmp_path):
    encoder = load_encoder(plain(tmp_path / "c", "xlm-roberta").folder)
    tokens = encoder.passage_tokens(" loom  wing 日本")
    words = [(t.text, t.start, t.end) for t in tokens if t.text.strip() and t.start < t.end]
    assert ("loom", 1, 5) in words
    assert ("wing", 7, 11) in words
    assert ("本", 13, 14) in words


def test_a_cut_is_announced_once(tmp_path, caplog):
    encoder = load_encoder(hf_colbert(tmp_path / "c").folder)
    for _ in range(2):
        encoder.encode_passages(["loom " * 60, "wing " * 70])
        encoder.encode_queries(["loom " * 60])
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert "passage of 60 tokens was cut after 37" in warnings[0]
    assert "query of 60 tokens was cut after 13" in warnings[1]
