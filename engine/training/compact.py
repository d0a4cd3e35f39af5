"""Stores a trained model's weights with a byte each: small enough to travel with a program.

Each row of a matrix gets a scale, the largest magnitude in it divided by 127. The encoder reads
them as float32 again, so that only the rounding is lost: half a scale per weight at most.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file

from ..encoder.checkpoint import Layout, read_checkpoint
from ..encoder.source import locate
from ..encoder.weights import INTEGERS, SCALES, read_tensors
from ..errors import CheckpointError
from .layouts import TOKENIZER_FILES, fresh, publish

_LARGEST: Final = 127
_CONFIGURATIONS: Final = (
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
)
_WEIGHTS: Final = "model.safetensors"


def write_compact(name: str | Path, folder: Path) -> Path:
    """Write a checkpoint of PyLate's layout with a byte per weight of its transformer.

    Only Weft reads the result; the projection, norms and biases stay as they are, and a pooler
    is left out.

    Args:
        name: the checkpoint: a folder or hub name.
        folder: where it is written, whole or not at all.

    Returns:
        The folder.

    Raises:
        CheckpointError: the checkpoint cannot be read or is of another layout.
    """
    checkpoint = read_checkpoint(locate(name).folder)
    if checkpoint.layout is not Layout.PYLATE or checkpoint.backbone != checkpoint.folder:
        raise CheckpointError(
            f"{checkpoint.folder} is not in the layout that `weft train distil` writes as `model`, "
            "with the transformer beside modules.json; give such a folder"
        )
    aside = fresh(folder)
    source = checkpoint.folder
    tensors = {name: value for name, value in read_tensors(source).items() if "pooler." not in name}
    save_file(compacted(tensors), aside / _WEIGHTS, metadata={"format": "pt"})
    for file in (*_CONFIGURATIONS, *TOKENIZER_FILES):
        if (source / file).is_file():
            shutil.copyfile(source / file, aside / file)
    for module in checkpoint.dense:
        shutil.copytree(module.folder, aside / module.folder.relative_to(source))
    publish(aside, folder)
    return folder


def compacted(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors in which each matrix is replaced by its integers and its rows' scales."""
    found: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        if value.dim() != 2 or not value.is_floating_point():
            found[name] = value.contiguous()
            continue
        rows = value.float()
        scale = rows.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
        integers = (rows / scale[:, None]).round().clamp(-_LARGEST, _LARGEST)
        found[name + INTEGERS] = integers.to(torch.int8)
        found[name + SCALES] = scale
    return found
