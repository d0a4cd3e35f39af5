"""Damaged, incomplete and hostile checkpoints are refused by name, and never run."""

import json
import os
import zipfile

import pytest
import torch
from checkpoints import hf_colbert, plain, pylate, write_json
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from weft.engine.encoder import load_encoder
from weft.engine.errors import CheckpointError

ONE = [{"out_features": 12}]


def refused(folder, *mentioned):
    """The message with which a checkpoint is refused, at loading or at first use."""
    with pytest.raises(CheckpointError) as caught:
        encoder = load_encoder(folder)
        _ = encoder.identity
        encoder.encode_passages(["loom"])
    for part in mentioned:
        assert part in str(caught.value)


def change_json(path, **changes):
    write_json(path, json.loads(path.read_text()) | changes)


def change_tensors(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_missing_projection(tmp_path):
    made = hf_colbert(tmp_path / "c")
    change_tensors(made.folder / "model.safetensors", lambda t: t.pop("linear.weight"))
    refused(made.folder, "model.safetensors", "linear.weight")
    (made.folder / "artifact.metadata").unlink()
    refused(made.folder, "model.safetensors", "linear.weight")


def test_missing_projection_in_a_bin_file(tmp_path):
    made = hf_colbert(tmp_path / "c", weights="bin")
    path = made.folder / "pytorch_model.bin"
    tensors = torch.load(path, weights_only=True)
    del tensors["linear.weight"]
    torch.save(tensors, path)
    refused(made.folder, "pytorch_model.bin", "linear.weight")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("linear.weight", (11, 32)), ("linear.weight", (12, 31)), ("linear.weight", (12,))],
)
def test_projection_of_another_shape(tmp_path, name, shape):
    made = hf_colbert(tmp_path / "c")
    path = made.folder / "model.safetensors"
    change_tensors(path, lambda t: t.update({name: torch.zeros(shape)}))
    refused(made.folder, "model.safetensors", name, str(shape))


def test_backbone_tensors_missing_or_of_another_shape(tmp_path):
    name = "bert.encoder.layer.1.output.dense.weight"
    made = hf_colbert(tmp_path / "a")
    change_tensors(made.folder / "model.safetensors", lambda t: t.pop(name))
    refused(made.folder, "model.safetensors", "encoder.layer.1.output.dense.weight")
    made = hf_colbert(tmp_path / "b")
    change_tensors(made.folder / "model.safetensors", lambda t: t.update({name: torch.zeros(3)}))
    refused(made.folder, "model.safetensors", "encoder.layer.1.output.dense.weight")


def test_tensors_missing_from_a_backbone_of_transformers(tmp_path):
    made = plain(tmp_path / "c", "modernbert")
    path = made.folder / "model.safetensors"
    change_tensors(path, lambda t: t.pop(sorted(t)[-1]))
    refused(made.folder, "model.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 200, 0.5, 0.999])
@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_truncated_weights(tmp_path, weights, keep):
    made = hf_colbert(tmp_path / "c", weights=weights)
    path = next(made.folder.glob("*model.*"))
    size = keep if isinstance(keep, int) else int(path.stat().st_size * keep)
    path.write_bytes(path.read_bytes()[:size])
    refused(made.folder, path.name)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("kind", ["hf", "dense", "transformers"])
def test_a_pickle_bomb_is_not_run(tmp_path, kind):
    if kind == "hf":
        folder = where = hf_colbert(tmp_path / "c", weights="bin").folder
    elif kind == "dense":
        folder = pylate(tmp_path / "c", ONE, weights="bin").folder
        where = folder / "1_Dense"
    else:
        folder = where = plain(tmp_path / "c", "modernbert").folder
        (folder / "model.safetensors").unlink()
    target = tmp_path / "exploded"
    torch.save({"linear.weight": Bomb(target)}, where / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin", "runs no code")
    assert not target.exists()


def test_a_bin_that_holds_no_tensors(tmp_path):
    made = hf_colbert(tmp_path / "c", weights="bin")
    torch.save([1, 2], made.folder / "pytorch_model.bin")
    refused(made.folder, "pytorch_model.bin")
    with zipfile.ZipFile(made.folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("x", b"y")
    refused(made.folder, "pytorch_model.bin")


def test_a_dim_that_contradicts_the_projection(tmp_path):
    made = hf_colbert(tmp_path / "c")
    change_json(made.folder / "artifact.metadata", dim=13)
    refused(made.folder, "linear.weight", "(12, 32)", "(13, 32)")


def test_a_tokenizer_with_more_tokens_than_embeddings(tmp_path):
    made = pylate(tmp_path / "c", ONE)
    path = made.folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["[extra]"])
    tokenizer.save(str(path))
    refused(made.folder, "tokenizer", "embeddings")


def test_no_weights(tmp_path):
    made = hf_colbert(tmp_path / "c")
    (made.folder / "model.safetensors").unlink()
    refused(made.folder, str(made.folder), "no weights")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a": ' * 100_000])
def test_configurations_that_are_no_objects(tmp_path, content):
    made = hf_colbert(tmp_path / "c")
    for name in ("config.json", "artifact.metadata", "tokenizer.json"):
        path = made.folder / name
        kept = path.read_text()
        path.write_text(content)
        refused(made.folder, name)
        path.write_text(kept)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("query_maxlen", 0),
        ("query_maxlen", "32"),
        ("query_maxlen", True),
        ("doc_maxlen", -1),
        ("dim", 4097),
        ("mask_punctuation", "yes"),
        ("query_token_id", 7),
    ],
)
def test_metadata_out_of_range(tmp_path, key, value):
    made = hf_colbert(tmp_path / "c", **{key: value})
    refused(made.folder, str(made.folder))


def test_a_backbone_that_heads_do_not_divide(tmp_path):
    made = hf_colbert(tmp_path / "c")
    change_json(made.folder / "config.json", num_attention_heads=5)
    refused(made.folder, "config.json", "num_attention_heads")
    change_json(made.folder / "config.json", num_attention_heads=None)
    refused(made.folder, "config.json", "num_attention_heads")


def test_dense_modules(tmp_path):
    folder = pylate(tmp_path / "a", ONE).folder
    (folder / "1_Dense" / "config.json").unlink()
    refused(folder, "1_Dense", "config.json")
    folder = pylate(tmp_path / "b", ONE).folder
    (folder / "1_Dense" / "model.safetensors").unlink()
    refused(folder, "1_Dense", "no weights")
    folder = pylate(tmp_path / "c", ONE).folder
    change_json(folder / "1_Dense" / "config.json", activation_function="os.system")
    refused(folder, "1_Dense", "'system'", "ReLU")
    folder = pylate(tmp_path / "d", ONE).folder
    change_json(folder / "1_Dense" / "config.json", in_features=31)
    refused(folder, "1_Dense", "31", "32")
    folder = pylate(tmp_path / "e", ONE).folder
    change_json(folder / "1_Dense" / "config.json", bias=True)
    refused(folder, "1_Dense", "linear.bias")
    folder = pylate(tmp_path / "f", ONE).folder
    change_json(folder / "1_Dense" / "config.json", out_features=13)
    refused(folder, "1_Dense", "linear.weight", "(12, 32)")
    folder = pylate(tmp_path / "g", ONE).folder
    change_json(folder / "1_Dense" / "config.json", use_residual=True)
    refused(folder, "1_Dense", "residual.weight")


@pytest.mark.parametrize(
    "modules",
    [
        [],
        {},
        [3],
        [{"type": "a.Transformer", "path": ""}],
        [{"type": "a.Dense", "path": "1_Dense"}],
        [{"type": "a.Transformer", "path": ""}, {"type": "a.Convolution", "path": "1_Dense"}],
        [{"type": "a.Transformer", "path": "../elsewhere"}],
        [{"type": "a.Transformer", "path": "/etc"}],
    ],
)
def test_lists_of_modules(tmp_path, modules):
    folder = pylate(tmp_path / "c", ONE).folder
    write_json(folder / "modules.json", modules)
    refused(folder, "modules.json")


def test_a_tokenizer_without_the_prefix(tmp_path):
    folder = pylate(tmp_path / "c", ONE, settings={"document_prefix": "[doc] "}).folder
    refused(folder, "[doc] ", "tokenizer")


def test_no_tokenizer(tmp_path):
    folder = plain(tmp_path / "c").folder
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / name).unlink()
    refused(folder, str(folder), "tokenizer")


def test_code_of_its_own_is_not_run(tmp_path):
    folder = plain(tmp_path / "c").folder
    target = tmp_path / "ran"
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(target)!r})\n")
    maps = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    change_json(folder / "config.json", model_type="own", auto_map=maps)
    refused(folder, "own code")
    assert not target.exists()


def test_weights_that_hold_nan(tmp_path):
    from weft.engine.errors import EncoderError

    made = hf_colbert(tmp_path / "c")
    path = made.folder / "model.safetensors"
    change_tensors(path, lambda t: t["linear.weight"].fill_(float("nan")))
    with pytest.raises(EncoderError, match="NaN"):
        load_encoder(made.folder).encode_passages(["loom"])


def test_shards_are_read_and_checked(tmp_path):
    made = plain(tmp_path / "c")
    whole = load_encoder(made.folder).encode_passages(["loom"])[0]
    tensors = load_file(made.folder / "model.safetensors")
    (made.folder / "model.safetensors").unlink()
    parts = {"model-1.safetensors": {}, "model-2.safetensors": {}}
    for number, name in enumerate(sorted(tensors)):
        parts[f"model-{number % 2 + 1}.safetensors"][name] = tensors[name]
    for name, part in parts.items():
        save_file(part, made.folder / name, metadata={"format": "pt"})
    names = {name: file for file, part in parts.items() for name in part}
    index = made.folder / "model.safetensors.index.json"
    write_json(index, {"metadata": {}, "weight_map": names})
    assert (load_encoder(made.folder).encode_passages(["loom"])[0] == whole).all()
    write_json(index, {"weight_map": {"a": "../c/model-1.safetensors"}})
    refused(made.folder, "index.json")
    write_json(index, {"weight_map": {"a": "model-3.safetensors"}})
    refused(made.folder, "index.json")
