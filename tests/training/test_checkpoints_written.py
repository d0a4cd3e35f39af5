"""Starts and results load in Weft with the vectors of plain `transformers` calls."""

import json
import string

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, hf_colbert, plain, pylate
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from weft.engine.encoder import load_encoder
from weft.engine.encoder.checkpoint import read_checkpoint
from weft.engine.errors import CheckpointError, InvalidParameterError
from weft.engine.training.layouts import write_hf_colbert, write_pylate
from weft.engine.training.starting import check_start, prepare
from weft.engine.training.trainable import TrainableEncoder

KINDS = ("bert", "modernbert", "xlm-roberta", "xmod")
LENGTHS = ("dim", "query_maxlen", "document_maxlen")


def made(tmp_path, kind, **more):
    plain(tmp_path / kind, kind)
    options = {"dim": 12, "sample": TEXTS, "query_maxlen": 16, "document_maxlen": 40} | more
    return prepare(tmp_path / kind, tmp_path / "start", **options)


def plainly(folder, text, marker, length, language, *, expand):
    """One text's vectors through `transformers` alone: model, tokenizer, one matrix."""
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, truncation=True, max_length=length - 1)["input_ids"]
    ids = [ids[0], tokenizer.convert_tokens_to_ids(marker), *ids[1:]]
    attention = [1] * len(ids)
    if expand:
        attention += [0] * (length - len(ids))
        ids += [tokenizer.mask_token_id] * (length - len(ids))
    more = {"lang_ids": torch.tensor([language])} if language is not None else {}
    with torch.no_grad():
        hidden = model(
            input_ids=torch.tensor([ids]), attention_mask=torch.tensor([attention]), **more
        ).last_hidden_state[0]
    matrix = load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"]
    vectors = torch.nn.functional.normalize(hidden @ matrix.T, dim=-1).numpy()
    if expand:
        return vectors
    skipped = set(tokenizer.convert_tokens_to_ids(list(string.punctuation)))
    skipped.discard(tokenizer.unk_token_id)
    return vectors[[n for n, id in enumerate(ids) if id not in skipped]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_gives_the_vectors_of_plain_calls(tmp_path, kind):
    folder = made(tmp_path, kind)
    language = 0 if kind == "xmod" else None
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    encoder = load_encoder(folder)
    assert encoder.announcement is None and encoder.dim == 12
    for text in (TEXTS[0], TEXTS[2]):
        passage = plainly(folder, text, settings["document_prefix"], 40, language, expand=False)
        np.testing.assert_allclose(encoder.encode_passages([text])[0], passage, atol=1e-5)
        query = plainly(folder, text, settings["query_prefix"], 16, language, expand=True)
        np.testing.assert_allclose(encoder.encode_queries([text])[0], query, atol=1e-5)


def trained_vectors(encoder, kind):
    language = encoder.checkpoint.default_language
    with torch.no_grad():
        queries = encoder(encoder.tokenization.queries(TEXTS), language)
        return queries.numpy(), encoder(encoder.tokenization.passages(TEXTS), language).numpy()


def starts(tmp_path):
    dense = [{"out_features": 20}, {"out_features": 12}]
    yield "bert", made(tmp_path, "bert")
    yield "HF_ColBERT", hf_colbert(tmp_path / "hf").folder
    yield (
        "PyLate",
        pylate(
            tmp_path / "pylate",
            dense,
            kind="bert",
            settings={"query_prefix": "[unused0]", "document_prefix": "[unused1]"},
        ).folder,
    )


@pytest.mark.parametrize("which", [0, 1, 2])
def test_both_layouts_load_back_with_the_vectors_of_the_trainer(tmp_path, which):
    kind, folder = list(starts(tmp_path))[which]
    encoder = TrainableEncoder.load(folder).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    queries, passages = trained_vectors(encoder, kind)
    for name, write in (("p", write_pylate), ("h", write_hf_colbert)):
        write(encoder, tmp_path / name)
        loaded = load_encoder(tmp_path / name)
        found = np.concatenate(loaded.encode_queries(TEXTS))
        np.testing.assert_allclose(found, queries, atol=2e-5)
        np.testing.assert_allclose(
            np.concatenate(loaded.encode_passages(TEXTS)), passages, atol=2e-5
        )


def test_sentencepiece_keeps_its_skiplist_from_one_layout_to_the_other(tmp_path):
    encoder = TrainableEncoder.load(hf_colbert(tmp_path / "h", kind="xmod").folder).eval()
    _, passages = trained_vectors(encoder, "xmod")
    write_pylate(encoder, tmp_path / "p")
    found = np.concatenate(load_encoder(tmp_path / "p").encode_passages(TEXTS))
    np.testing.assert_allclose(found, passages, atol=2e-5)


def test_what_a_layout_cannot_say_is_refused(tmp_path):
    for number, module in enumerate(
        ({"bias": True}, {"activation_function": "torch.nn.modules.activation.Tanh"})
    ):
        folder = pylate(tmp_path / str(number), [{"out_features": 8, **module}]).folder
        with pytest.raises(CheckpointError, match="PyLate layout instead"):
            write_hf_colbert(TrainableEncoder.load(folder), tmp_path / "h")
    with pytest.raises(CheckpointError, match="other punctuation"):
        write_hf_colbert(TrainableEncoder.load(made(tmp_path, "xlm-roberta")), tmp_path / "h")
    # Nothing is left of the attempts.
    assert not list(tmp_path.glob("h*"))


def test_biases_activations_and_residuals_survive(tmp_path):
    modules = [
        {
            "out_features": 32,
            "bias": True,
            "use_residual": True,
            "activation_function": "torch.nn.modules.activation.GELU",
        },
        {"out_features": 8, "use_residual": True},
    ]
    folder = pylate(tmp_path / "given", modules).folder
    write_pylate(TrainableEncoder.load(folder), tmp_path / "written")
    for one, other in zip(
        load_encoder(folder).encode_passages(TEXTS),
        load_encoder(tmp_path / "written").encode_passages(TEXTS),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_pca_keeps_the_directions_that_numpy_finds(tmp_path):
    folder = made(tmp_path, "bert", expand_queries=False)
    matrix = load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"].numpy()
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    skipped = set(tokenizer.convert_tokens_to_ids(list(string.punctuation)))
    rows = []
    for text in TEXTS:
        if not text.strip():
            continue
        ids = tokenizer(text, truncation=True, max_length=39)["input_ids"]
        ids = [ids[0], tokenizer.convert_tokens_to_ids("[unused1]"), *ids[1:]]
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0].double().numpy()
        rows += [row for row, id in zip(hidden, ids, strict=True) if id not in skipped]
    rows = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    _, _, directions = np.linalg.svd(rows)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(12), atol=1e-5)
    np.testing.assert_allclose(matrix.T @ matrix, directions[:12].T @ directions[:12], atol=1e-4)


def test_random_rows_are_at_right_angles_and_the_same_for_a_seed(tmp_path):
    matrices = []
    for seed in (0, 0, 1):
        folder = made(tmp_path, "bert", projection="orthogonal", seed=seed)
        matrices.append(load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"])
    np.testing.assert_allclose(matrices[0] @ matrices[0].T, np.eye(12), atol=1e-5)
    assert torch.equal(matrices[0], matrices[1]) and not torch.equal(matrices[0], matrices[2])


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"dim": 33}, "dim is 33"),
        ({"projection": "svd"}, "projection"),
        ({"sample": []}, "sample"),
        ({"query_maxlen": 97}, "query_maxlen"),
        ({"seed": 0}, "seed is 0, but a PCA projection draws nothing"),
    ],
)
def test_starts_that_cannot_be_made(tmp_path, more, what):
    with pytest.raises(InvalidParameterError, match=what):
        made(tmp_path, "bert", **more)


def test_a_plain_start_that_is_told_nothing_has_the_documented_rules(tmp_path):
    folder = made(tmp_path, "bert", query_maxlen=None, document_maxlen=None)
    rules = read_checkpoint(folder).rules
    # The toy's positions end before 180.
    assert (rules.query_maxlen, rules.document_maxlen) == (32, 96)
    assert rules.expand_queries and rules.query_marker == "[unused0]"
    with pytest.raises(InvalidParameterError, match="dim is 128: use 1 to 32"):
        made(tmp_path, "bert", dim=None)


def test_a_late_interaction_checkpoint_is_a_start_as_it_is(tmp_path):
    folder = hf_colbert(tmp_path / "h").folder
    assert prepare(folder, tmp_path / "start") == folder.resolve()
    with pytest.raises(CheckpointError, match="plain encoder"):
        TrainableEncoder.load(plain(tmp_path / "plain").folder)


@pytest.mark.parametrize(
    "told",
    [
        {"dim": 128},
        {"query_maxlen": 32},
        {"document_maxlen": 180},
        {"expand_queries": False},
        {"markers": False},
        {"projection": "pca"},
        {"seed": 0},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_a_late_interaction_start_would_not_heed_is_refused(tmp_path, told):
    option = next(iter(told))
    dense = pylate(tmp_path / "p", [{"out_features": 20}, {"out_features": 12}]).folder
    for folder in (hf_colbert(tmp_path / "h").folder, dense):
        for refuse in (prepare, check_start)[: 1 + (option in LENGTHS)]:
            place = (tmp_path / "start",) if refuse is prepare else ()
            with pytest.raises(InvalidParameterError) as caught:
                refuse(folder, *place, **told)
            assert str(caught.value).startswith(f"{option} is {told[option]!r}, but {folder.name} ")
            assert f"leave {option} out" in str(caught.value)
    assert not (tmp_path / "start").exists()


def test_what_a_late_interaction_start_has_anyway_may_be_told(tmp_path):
    own = {"dim": 12, "query_maxlen": 16, "document_maxlen": 40}
    folder = hf_colbert(tmp_path / "h").folder
    more = {"expand_queries": True, "markers": True, "sample": TEXTS}
    assert prepare(folder, tmp_path / "start", **own, **more) == folder.resolve()
    check_start(folder, **own)
    # Without metadata the weights tell dim, and the lengths are ColBERT's.
    (folder / "artifact.metadata").unlink()
    assert prepare(folder, tmp_path / "start", dim=12, query_maxlen=32) == folder.resolve()
    with pytest.raises(InvalidParameterError, match="its dim is 12"):
        check_start(folder, dim=128)
    # weft-mini has neither markers nor expansion.
    weft_mini = prepare(None, tmp_path / "start", dim=128, markers=False, expand_queries=False)
    assert weft_mini.name == "weft_mini"
    with pytest.raises(InvalidParameterError, match=r"dim is 64, but weft-mini .*its dim is 128"):
        prepare(None, tmp_path / "start", dim=64)
    # A plain start heeds all of them: they are judged when it is made.
    check_start(plain(tmp_path / "plain").folder, dim=5000, query_maxlen=7)
