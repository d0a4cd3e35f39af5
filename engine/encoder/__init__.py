"""Encoders: texts in, one L2-normalised vector per token out.

Importing this package reads neither PyTorch nor `transformers`; an encoder does at first use.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import InvalidParameterError
from .base import Encoder, EncoderIdentity, FloatArray, Token

if TYPE_CHECKING:
    from .model import CheckpointEncoder

__all__ = ["Encoder", "EncoderIdentity", "FloatArray", "Token", "load_encoder"]

_logger = logging.getLogger(__name__)
_DTYPES: Final = ("auto", "fp32", "bf16")
_announced: Final[set[str]] = set()


def load_encoder(
    name: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
) -> CheckpointEncoder:
    """Find a checkpoint and recognise its layout; its weights are read at first use.

    Args:
        name: a folder; a hub name such as `colbert-ir/colbertv2.0`; or None for
            weft-mini, which travels with Weft. A checkpoint that was not trained for late
            interaction is announced by one logged line per process.
        device: `auto` (CUDA where there is any), `cpu`, `cuda` or `cuda:N`.
        dtype: precision of the model: `fp32`, `bf16`, or `auto`, which is bf16 on a GPU that
            multiplies in it and else fp32; vectors are float32 in any case.
        threads: PyTorch's threads, a setting of the whole process; 0 leaves it alone.

    Raises:
        CheckpointError: no such checkpoint, or its files are not what they should be.
        MissingDependencyError: MiniLM was named and its package is not installed.
        InvalidParameterError: `device`, `dtype` or `threads` is out of range.
    """
    from .checkpoint import read_checkpoint
    from .model import CheckpointEncoder
    from .source import locate

    if name is not None and not isinstance(name, str | Path):
        raise InvalidParameterError(
            f"name must be a folder or a hub name, not a {type(name).__name__}"
        )
    if dtype not in _DTYPES:
        raise InvalidParameterError(f"dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}")
    if not isinstance(device, str) or (
        device != "auto" and device.partition(":")[0] not in ("cpu", "cuda")
    ):
        raise InvalidParameterError(f"device must be auto, cpu, cuda or cuda:N, not {device!r}")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise InvalidParameterError(f"threads must be 0 (as they are) or more, not {threads}")
    source = locate(name)
    encoder = CheckpointEncoder(
        source, read_checkpoint(source.folder), device=device, dtype=dtype, threads=threads
    )
    if encoder.announcement and source.reference not in _announced:
        _announced.add(source.reference)
        _logger.warning("%s", encoder.announcement)
    return encoder
