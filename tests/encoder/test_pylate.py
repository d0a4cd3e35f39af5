"""The PyLate layout gives the vectors of plain transformers calls."""

import string

import pytest
import torch
from checkpoints import TEXTS, pylate

from weft.engine.encoder import load_encoder

ONE = [{"out_features": 12}]
SEVERAL = [
    {"out_features": 48, "bias": True, "activation_function": "torch.nn.modules.activation.GELU"},
    {"out_features": 48, "use_residual": True, "activation_function": "torch.nn.ReLU"},
    {"out_features": 9, "bias": True, "use_residual": True},
]


def project(hidden, dense):
    for config, tensors in dense:
        out = hidden @ tensors["linear.weight"].T
        if config["bias"]:
            out = out + tensors["linear.bias"]
        if config["activation_function"].endswith("GELU"):
            out = torch.nn.functional.gelu(out)
        if config["activation_function"].endswith("ReLU"):
            out = out.clamp(min=0)
        if config.get("use_residual"):
            residual = tensors.get("residual.weight")
            out = out + (hidden if residual is None else hidden @ residual.T)
        hidden = out
    return hidden


def sequence(plain, text, prefix, length):
    """The prefix is inserted as a token after the first one; the length counts it."""
    ids = plain.ids(text, length - 1 if prefix else length)
    if prefix:
        ids.insert(1, plain.tokenizer.convert_tokens_to_ids(prefix))
    return ids


def queries(plain, made, text, *, prefix="[Q] ", length=16, expand=True, attend=False):
    ids = sequence(plain, text, prefix, length)
    attention = [1] * len(ids)
    if expand:
        missing = length - len(ids)
        ids += [plain.tokenizer.mask_token_id] * missing
        attention += [int(attend)] * missing
    return project(plain.hidden(ids, attention), made.dense)


def passages(plain, made, text, *, prefix="[D] ", length=40, words=string.punctuation):
    ids = sequence(plain, text, prefix, length)
    skipped = set(plain.tokenizer.convert_tokens_to_ids(list(words)))
    kept = [n for n, number in enumerate(ids) if number not in skipped]
    return project(plain.hidden(ids), made.dense)[kept]


@pytest.mark.parametrize("modules", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_queries_and_passages(tmp_path, plainly, close, normalised, modules, weights):
    made = pylate(tmp_path / "c", modules, weights=weights)
    plain = plainly(made)
    encoder = load_encoder(made.folder)
    expected_queries = [normalised(queries(plain, made, text)) for text in TEXTS]
    expected = [normalised(passages(plain, made, text)) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), expected_queries)
    close(encoder.encode_passages(TEXTS), expected)
    for n, text in enumerate(TEXTS):
        close(encoder.encode_queries([text]), [expected_queries[n]])
        close(encoder.encode_passages([text]), [expected[n]])
    assert encoder.identity.dim == modules[-1]["out_features"]
    assert encoder.announcement is None


@pytest.mark.parametrize(
    ("settings", "asked", "passage"),
    [
        ({"attend_to_expansion_tokens": True}, {"attend": True}, {}),
        ({"do_query_expansion": False}, {"expand": False}, {}),
        (
            {"do_query_expansion": False, "attend_to_expansion_tokens": True},
            {"expand": False},
            {},
        ),
        ({"query_prefix": "", "document_prefix": ""}, {"prefix": ""}, {"prefix": ""}),
        (
            {"query_length": 20, "document_length": 24, "skiplist_words": ["the", "Ġof", "!"]},
            {"length": 20},
            {"length": 24, "words": ["Ġof", "!"]},
        ),
    ],
    ids=["attend", "no expansion", "attend without expansion", "no prefix", "lengths"],
)
def test_settings(tmp_path, plainly, close, normalised, settings, asked, passage):
    made = pylate(tmp_path / "c", ONE, settings=settings)
    plain = plainly(made)
    encoder = load_encoder(made.folder)
    expected = [normalised(queries(plain, made, text, **asked)) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), expected)
    expected = [normalised(passages(plain, made, text, **passage)) for text in TEXTS]
    close(encoder.encode_passages(TEXTS), expected)


def test_a_bert_inside(tmp_path, plainly, close, normalised):
    prefixes = {"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
    made = pylate(tmp_path / "c", ONE, kind="bert", settings=prefixes)
    plain = plainly(made)
    encoder = load_encoder(made.folder)
    expected = [normalised(queries(plain, made, text, prefix="[unused0]")) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), expected)
    expected = [normalised(passages(plain, made, text, prefix="[unused1]")) for text in TEXTS]
    close(encoder.encode_passages(TEXTS), expected)


def test_a_transformer_in_a_folder_of_its_own(tmp_path, plainly, close, normalised):
    made = pylate(tmp_path / "c", ONE)
    inner = made.folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (made.folder / name).rename(inner / name)
    modules = made.folder / "modules.json"
    modules.write_text(modules.read_text().replace('"path": ""', '"path": "0_Transformer"'))
    encoder = load_encoder(made.folder)
    made.folder = inner
    expected = [normalised(passages(plainly(made), made, text)) for text in TEXTS]
    close(encoder.encode_passages(TEXTS), expected)
