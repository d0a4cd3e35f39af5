"""What the encoder's tests share: plain `transformers` calls to hold our vectors against."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Models this small lose more to threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


class Plainly:
    """Hidden states of one text at a time, through the model's own forward call."""

    def __init__(self, made):
        self.model = made.model
        self.tokenizer = AutoTokenizer.from_pretrained(made.folder)

    def ids(self, text, length):
        return self.tokenizer(text, truncation=True, max_length=length)["input_ids"]

    @torch.no_grad()
    def hidden(self, ids, attention=None, **more):
        attention = [1] * len(ids) if attention is None else attention
        found = self.model(
            input_ids=torch.tensor([ids]), attention_mask=torch.tensor([attention]), **more
        )
        return found.last_hidden_state[0]


@pytest.fixture
def plainly():
    return Plainly


@pytest.fixture
def close():
    def check(found, expected):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == np.float32
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)
            np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)

    return check


@pytest.fixture
def normalised():
    return unit
