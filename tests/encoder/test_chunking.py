"""Passages cover the text, overlap, and fit the encoder when tokenised on their own."""

from itertools import pairwise
from pathlib import Path

import pytest
from checkpoints import WORDS, byte_level, hf_colbert, plain, pylate, unigram, wordpiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from weft.engine.encoder import load_encoder
from weft.engine.encoder.chunking import Chunker
from weft.engine.encoder.vocabulary import Vocabulary

TOKENIZERS = {"wordpiece": wordpiece(), "byte level": byte_level(), "unigram": unigram()}
PIECES = st.one_of(
    st.sampled_from(
        [*WORDS, ". ", "\n\n", "\n", " ", ", ", "! ", "。", "日本語", "e\u0301", "👩‍👩‍👧"]
    ),
    st.text(max_size=8),
    st.sampled_from(["x" * 130, " " * 50, "loomwing" * 9, "ﷺ", "\x00\x01", "<mask>", "[SEP]"]),
)


def chunker(name, budget):
    return Chunker(Vocabulary(TOKENIZERS[name], {}, Path(name)), budget)


def check(text, spans, count, budget):
    """The promises of `split`, one by one."""
    assert spans
    covered = 0
    for start, end in spans:
        assert 0 <= start <= end <= len(text)
        assert not text[covered:start].strip()
        assert text[start:end] == text[start:end].strip()
        assert count(text[start:end]) <= budget or end - start == 1
        covered = max(covered, end)
    assert not text[covered:].strip()
    starts = [start for start, _ in spans]
    assert starts == sorted(starts)
    if len(text.strip()) > 0:
        assert all(start < end for start, end in spans)
    else:
        assert len(spans) == 1


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=80, deadline=None)
@given(pieces=st.lists(PIECES, max_size=60), budget=st.sampled_from([3, 8, 20, 50]))
def test_promises(name, pieces, budget):
    tokenizer = TOKENIZERS[name]
    text = "".join(pieces)

    def count(part):
        return len(tokenizer.encode(part, add_special_tokens=False))

    check(text, chunker(name, budget).split_many([text])[0], count, budget)


@pytest.mark.parametrize("kind", ["hf", "pylate", "plain", "unigram"])
def test_each_passage_fits_document_maxlen(tmp_path, kind):
    if kind == "hf":
        made = hf_colbert(tmp_path / "c")
    elif kind == "pylate":
        made = pylate(tmp_path / "c", [{"out_features": 8}])
    else:
        made = plain(tmp_path / "c", "bert" if kind == "plain" else "xlm-roberta")
    encoder = load_encoder(made.folder)
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    marker = kind in ("hf", "pylate")
    text = " ".join(f"{word}, {WORDS[n % 7]}." for n, word in enumerate(WORDS * 12))
    spans = encoder.split(text)
    for start, end in spans:
        length = len(tokenizer(text[start:end])["input_ids"]) + marker
        assert length <= encoder.identity.document_maxlen
    assert len(spans) > 5
    short = text[: spans[0][1] // 2].strip()
    assert encoder.split(short) == [(0, len(short))]
    assert encoder.split(f"\n {short}\t") == [(2, 2 + len(short))]


def test_many_texts_give_what_each_gives(tmp_path):
    encoder = load_encoder(plain(tmp_path / "c").folder)
    texts = ["", "loom", "loom wing. " * 300, " \n", "fox " * 100, "x" * 5000]
    assert encoder.split_many(texts) == [encoder.split(text) for text in texts]
    assert encoder.split_many([]) == []


def test_overlap_and_even_lengths():
    text = "loom wing fox dog. " * 400
    spans = chunker("wordpiece", 100).split_many([text])[0]
    tokenizer = TOKENIZERS["wordpiece"]
    lengths = [len(tokenizer.encode(text[a:b], add_special_tokens=False)) for a, b in spans]
    assert min(lengths) >= 60
    for (a, b), (c, d) in pairwise(spans):
        shared = len(tokenizer.encode(text[c:b], add_special_tokens=False))
        assert 0.06 * 70 <= shared <= 0.19 * 100
        assert a < c < b < d


def test_cuts_follow_sentences_and_paragraphs():
    sentences = [f"The {a} of the {b} over the {c}." for a in WORDS[:9] for b, c in ("wl", "ld")]
    paragraph = " ".join(sentences)
    text = "\n\n".join([paragraph] * 4)
    for start, end in chunker("wordpiece", 100).split_many([text])[0]:
        assert text[start:].startswith("The ")
        assert text[:end].endswith(".")


def test_chinese_sentences_end_without_white_space():
    text = "日本語の文章。" * 90
    for start, end in chunker("unigram", 80).split_many([text])[0]:
        assert text[:end].endswith("。")
        assert start % 7 == 0


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    "unit", ["loom ", "x", " ", "日", "!", "\n", "a\u0301", "👩‍", "\x00", ". ", "ﷺ"]
)
def test_odd_texts_survive(name, unit):
    text = unit * 20_000
    spans = chunker(name, 217).split_many([text])[0]
    tokenizer = TOKENIZERS[name]
    check(text, spans, lambda part: len(tokenizer.encode(part, add_special_tokens=False)), 217)
    assert len(spans) < 60_000 / 40


@pytest.mark.parametrize("name", TOKENIZERS)
def test_work_is_linear_in_length(name, monkeypatch):
    """Counted in characters that go through the tokenizer, not in time."""
    seen = []
    encode = Vocabulary.encode

    def counted(self, texts):
        seen.append(sum(map(len, texts)))
        return encode(self, texts)

    monkeypatch.setattr(Vocabulary, "encode", counted)
    for text in ("loom wing. " * 20_000, "loomwing" * 20_000):
        seen.clear()
        chunker(name, 217).split_many([text])
        assert sum(seen) < 4 * len(text)
