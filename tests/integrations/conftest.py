"""The real encoder, loaded once, and empty indexes of both kinds for it and for a cheap one."""

import pytest
import torch
from adapter_indexes import KINDS, empty_index, make_templates
from word_encoder import WordEncoder

from weft import load_encoder


@pytest.fixture(scope="session")
def minilm():
    """The default encoder."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_encoder()
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def minilm_templates(tmp_path_factory, minilm):
    return make_templates(tmp_path_factory.mktemp("minilm"), minilm)


@pytest.fixture(scope="session")
def word_templates(tmp_path_factory):
    return make_templates(tmp_path_factory.mktemp("words"), WordEncoder())


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def minilm_index(tmp_path, kind, minilm, minilm_templates):
    """Empty, with the real encoder, flat or coded."""
    with empty_index(minilm_templates, kind, tmp_path / "index", minilm) as index:
        yield index


@pytest.fixture
def word_index(tmp_path, kind, word_templates):
    """Empty, with the cheap encoder, flat or coded."""
    with empty_index(word_templates, kind, tmp_path / "index", WordEncoder()) as index:
        yield index
