"""Equal identities mean equal vectors: whatever changes a vector changes the identity."""

import json

import pytest
import torch
from checkpoints import hf_colbert, plain, pylate
from safetensors.torch import load_file, save_file

from weft.engine.encoder import Encoder, load_encoder

ONE = [{"out_features": 12}]


def identity(folder):
    return load_encoder(folder).identity


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(path, name):
    tensors = load_file(path)
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, path, metadata={"format": "pt"})


def compared(one):
    return one.content_hash, one.dim, one.query_maxlen, one.document_maxlen, one.details


def test_the_same_files_elsewhere_are_the_same_encoder(tmp_path):
    for write in (hf_colbert, plain, lambda path: pylate(path, ONE)):
        here, there = tmp_path / write.__name__ / "here", tmp_path / write.__name__ / "there"
        write(here), write(there)
        assert compared(identity(here)) == compared(identity(there))
        assert (identity(here).name, identity(there).name) == ("here", "there")


def test_an_identity_survives_json(tmp_path):
    found = identity(hf_colbert(tmp_path / "c").folder).to_json()
    assert json.loads(json.dumps(found)) == found
    assert len(bytes.fromhex(found["content_hash"])) >= 16


def test_precision_and_where_a_file_was_saved_do_not_matter(tmp_path):
    folder = hf_colbert(tmp_path / "c").folder
    before = load_encoder(folder, dtype="bf16").identity
    change_json(folder / "config.json", _name_or_path="elsewhere", transformers_version="9")
    assert identity(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: change_tensors(f / "model.safetensors", "linear.weight"),
        lambda f: change_tensors(f / "model.safetensors", "bert.embeddings.LayerNorm.bias"),
        lambda f: change_json(f / "config.json", layer_norm_eps=1e-3),
        lambda f: change_json(f / "tokenizer_config.json", do_lower_case=False),
        lambda f: change_json(f / "artifact.metadata", query_maxlen=17),
        lambda f: change_json(f / "artifact.metadata", doc_maxlen=41),
        lambda f: change_json(f / "artifact.metadata", attend_to_mask_tokens=True),
        lambda f: change_json(f / "artifact.metadata", mask_punctuation=False),
        lambda f: change_json(f / "artifact.metadata", query_token_id="[unused1]"),
    ],
)
def test_what_changes_vectors_changes_the_identity(tmp_path, change):
    folder = hf_colbert(tmp_path / "c").folder
    before = compared(identity(folder))
    change(folder)
    assert compared(identity(folder)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: change_tensors(f / "1_Dense" / "model.safetensors", "linear.weight"),
        lambda f: change_json(f / "1_Dense" / "config.json", activation_function="torch.nn.Tanh"),
        lambda f: change_json(f / "config_sentence_transformers.json", do_query_expansion=False),
        lambda f: change_json(f / "config_sentence_transformers.json", skiplist_words=[]),
        lambda f: change_json(f / "sentence_bert_config.json", do_lower_case=True),
    ],
)
def test_dense_modules_and_their_settings_count(tmp_path, change):
    folder = pylate(tmp_path / "c", ONE).folder
    before = compared(identity(folder))
    change(folder)
    assert compared(identity(folder)) != before


def test_it_needs_no_weights_in_memory(tmp_path, monkeypatch):
    folder = hf_colbert(tmp_path / "c").folder
    encoder = load_encoder(folder)
    monkeypatch.setattr(torch, "inference_mode", None)
    assert encoder.identity is encoder.identity
    assert isinstance(encoder, Encoder)
