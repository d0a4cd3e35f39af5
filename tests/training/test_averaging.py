"""The mean of two models is the mean of their weights."""

import pytest
import torch
from checkpoints import plain
from safetensors.torch import load_file

from weft.engine.errors import InvalidParameterError
from weft.engine.training.averaging import average
from weft.engine.training.layouts import write_pylate
from weft.engine.training.starting import prepare
from weft.engine.training.trainable import TrainableEncoder


def test_weights_lie_on_the_line_between(start, tmp_path):
    encoder = TrainableEncoder.load(start)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1.0)
    write_pylate(encoder, tmp_path / "trained")
    for share in (0.0, 0.25, 1.0):
        place = average(start, tmp_path / "trained", tmp_path / str(share), share=share)
        for name in ("model.safetensors", "1_Dense/model.safetensors"):
            old, new = load_file(start / name), load_file(place / name)
            for key, value in old.items():
                torch.testing.assert_close(new[key], value + share, atol=1e-5, rtol=0)


def test_models_that_do_not_belong_together(start, tmp_path):
    plain(tmp_path / "bert")
    other = prepare(tmp_path / "bert", tmp_path / "other", dim=8, projection="orthogonal",
                    query_maxlen=16, document_maxlen=40)  # fmt: skip
    with pytest.raises(InvalidParameterError, match="not trained from"):
        average(start, other, tmp_path / "mean")
    with pytest.raises(InvalidParameterError, match="share"):
        average(start, start, tmp_path / "mean", share=1.5)
