"""The HF_ColBERT layout gives the vectors of plain transformers calls."""

import string

import pytest
import torch
from checkpoints import TEXTS, hf_colbert

from weft.engine.encoder import load_encoder


def query_oracle(plain, made, text, *, attend=False, length=16, **more):
    """[CLS] [unused0] text [SEP] [MASK]...; masks are scored, and looked at only if asked."""
    tokenizer = plain.tokenizer
    ids = plain.ids(text, length - 1)
    ids = [ids[0], tokenizer.convert_tokens_to_ids("[unused0]"), *ids[1:]]
    real = len(ids)
    ids += [tokenizer.mask_token_id] * (length - real)
    attention = [1] * (length if attend else real) + [0] * (0 if attend else length - real)
    return plain.hidden(ids, attention, **more) @ made.linear.T


def passage_oracle(plain, made, text, *, punctuation=False, length=40):
    """[CLS] [unused1] text [SEP], the rows of punctuation dropped afterwards."""
    tokenizer = plain.tokenizer
    ids = plain.ids(text, length - 1)
    ids = [ids[0], tokenizer.convert_tokens_to_ids("[unused1]"), *ids[1:]]
    vectors = plain.hidden(ids) @ made.linear.T
    skipped = set() if punctuation else set(tokenizer.convert_tokens_to_ids([*string.punctuation]))
    return vectors[[n for n, number in enumerate(ids) if number not in skipped]]


@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_queries_and_passages(tmp_path, plainly, close, normalised, weights):
    made = hf_colbert(tmp_path / "c", weights=weights)
    plain = plainly(made)
    encoder = load_encoder(made.folder)
    queries = [normalised(query_oracle(plain, made, text)) for text in TEXTS]
    passages = [normalised(passage_oracle(plain, made, text)) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), queries)
    close(encoder.encode_passages(TEXTS), passages)
    for text, query, passage in zip(TEXTS, queries, passages, strict=True):
        close(encoder.encode_queries([text]), [query])
        close(encoder.encode_passages([text]), [passage])
    assert all(len(query) == 16 for query in queries)
    assert encoder.announcement is None


def test_attended_masks_and_scored_punctuation(tmp_path, plainly, close, normalised):
    made = hf_colbert(tmp_path / "c", attend_to_mask_tokens=True, mask_punctuation=False)
    plain = plainly(made)
    encoder = load_encoder(made.folder)
    queries = [normalised(query_oracle(plain, made, text, attend=True)) for text in TEXTS]
    passages = [normalised(passage_oracle(plain, made, text, punctuation=True)) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), queries)
    close(encoder.encode_passages(TEXTS), passages)


def test_an_x_mod_backbone_whose_vocabulary_lacks_the_markers(tmp_path, plainly, close, normalised):
    made = hf_colbert(tmp_path / "c", kind="xmod")
    plain = plainly(made)
    assert plain.tokenizer.convert_tokens_to_ids("[unused0]") == plain.tokenizer.unk_token_id
    encoder = load_encoder(made.folder)
    german = {"lang_ids": torch.tensor([1])}
    expected = [normalised(query_oracle(plain, made, text, **german)) for text in TEXTS]
    close(encoder.encode_queries(TEXTS, languages=["de"] * len(TEXTS)), expected)
    expected = [normalised(query_oracle(plain, made, text)) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), expected)


def test_lengths_and_markers_of_the_metadata(tmp_path, plainly, close, normalised):
    made = hf_colbert(tmp_path / "c", query_maxlen=24, doc_maxlen=20)
    encoder = load_encoder(made.folder)
    expected = [normalised(query_oracle(plainly(made), made, text, length=24)) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), expected)
    expected = [normalised(passage_oracle(plainly(made), made, text, length=20)) for text in TEXTS]
    close(encoder.encode_passages(TEXTS), expected)
    identity = encoder.identity
    assert (identity.query_maxlen, identity.document_maxlen, identity.dim) == (24, 20, 12)


def test_without_metadata_the_published_defaults_hold(tmp_path):
    made = hf_colbert(tmp_path / "c")
    (made.folder / "artifact.metadata").unlink()
    encoder = load_encoder(made.folder)
    assert encoder.dim == 12
    assert encoder.encode_queries(["loom"])[0].shape == (32, 12)


def test_bf16_stays_near(tmp_path, normalised):
    made = hf_colbert(tmp_path / "c")
    exact = load_encoder(made.folder).encode_passages(TEXTS)
    coarse = load_encoder(made.folder, dtype="bf16").encode_passages(TEXTS)
    for one, other in zip(exact, coarse, strict=True):
        assert other.dtype == one.dtype
        assert (one * other).sum(axis=1).min() > 0.99
