"""A byte per weight: what is stored, what is read back, and by whom."""

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, hf_colbert, pylate
from safetensors.torch import load_file, save_file

from weft.engine.encoder import load_encoder
from weft.engine.errors import CheckpointError
from weft.engine.training.compact import compacted, write_compact
from weft.engine.training.trainable import TrainableEncoder

MODULES = [{"out_features": 16, "bias": False}]
MARKERS = {
    "bert": {"query_prefix": "[unused0]", "document_prefix": "[unused1]"},
    "modernbert": {},
}


def whole(folder, kind):
    return pylate(folder, MODULES, kind=kind, settings=MARKERS[kind])


def test_rows_are_rounded_to_half_a_step():
    rows = torch.randn(50, 37, generator=torch.Generator().manual_seed(0))
    rows[3], rows[4, 5] = 0.0, 1e4
    found = compacted({"a.weight": rows, "a.bias": rows[0]})
    assert found["a.weight.int8"].dtype == torch.int8
    back = found["a.weight.int8"].double() * found["a.weight.scale"].double()[:, None]
    step = rows.double().abs().amax(dim=1) / 127
    assert ((back - rows).abs() <= step[:, None] * 0.5001).all()
    assert torch.equal(found["a.bias"], rows[0])


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_packed_model_gives_the_vectors_of_its_rounded_weights(tmp_path, kind):
    made = whole(tmp_path / "whole", kind)
    write_compact(made.folder, tmp_path / "packed")
    stored = load_file(tmp_path / "packed" / "model.safetensors")
    rounded = {
        name: stored[f"{name}.int8"].float() * stored[f"{name}.scale"][:, None]
        if f"{name}.int8" in stored
        else value
        for name, value in load_file(made.folder / "model.safetensors").items()
    }
    size = (tmp_path / "packed" / "model.safetensors").stat().st_size
    assert size < (made.folder / "model.safetensors").stat().st_size / 2
    packed = load_encoder(tmp_path / "packed")
    vectors = packed.encode_passages(TEXTS)
    save_file(rounded, made.folder / "model.safetensors")
    for ours, theirs in zip(vectors, load_encoder(made.folder).encode_passages(TEXTS), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    trained = TrainableEncoder.load(tmp_path / "packed").eval()
    again = trained(trained.tokenization.passages(TEXTS)).detach().numpy()
    np.testing.assert_allclose(again, np.concatenate(vectors), atol=1e-5)


def test_a_scale_that_is_missing_is_named(tmp_path):
    write_compact(whole(tmp_path / "whole", "bert").folder, tmp_path / "packed")
    path = tmp_path / "packed" / "model.safetensors"
    stored = load_file(path)
    gone = next(name for name in stored if name.endswith(".scale"))
    save_file({name: value for name, value in stored.items() if name != gone}, path)
    with pytest.raises(CheckpointError, match=gone):
        load_encoder(tmp_path / "packed").encode_queries(["wing"])


def test_another_layout_is_refused_before_anything_is_written(tmp_path):
    made = hf_colbert(tmp_path / "other")
    with pytest.raises(CheckpointError, match="distil"):
        write_compact(made.folder, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
