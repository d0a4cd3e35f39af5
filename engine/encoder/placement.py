"""The encoder of an index that is searched on a GPU: on the same one, where PyTorch can use it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from . import load_encoder
from .base import Encoder

_logger = logging.getLogger(__name__)


def placed(source: Any, device: str | None) -> Any:
    """Load an encoder onto a GPU, in bfloat16, batched by length as on the processor.

    Args:
        source: a folder, a hub name, or None for the default; an encoder is left where it is.
        device: "cuda:N"; None leaves the choice to the encoder.

    Returns:
        An encoder, or the source where there is nothing to choose.
    """
    if device is None or isinstance(source, Encoder) or not isinstance(source, str | Path | None):
        return source
    import torch

    if not torch.cuda.is_available():
        _logger.warning(
            "this PyTorch (%s) has no CUDA: %s searches, the processor encodes",
            torch.__version__,
            device,
        )
        return source
    return load_encoder(source, device=device, dtype="bf16")
