"""Runs the model: token sequences in, normalised vectors out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import EncoderError, InvalidParameterError
from .backbone import Backbone, load_backbone
from .base import FloatArray
from .batching import plan_batches
from .checkpoint import Checkpoint
from .packing import pack
from .projection import Projection, load_projection
from .tokenization import TokenSequence

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)

# Measured with MiniLM: more tokens at once leave a CPU's caches, fewer leave a GPU idle.
_CPU_BATCH_TOKENS: Final = 2048
_CUDA_BATCH_TOKENS: Final = 65_536

BFLOAT16_SINCE: Final = (8, 0)
"""Compute capability from which GPUs multiply in bfloat16."""


class Runtime:
    """A loaded model on its device. Thread-safe: weights are only read.

    Args:
        checkpoint: what to load.
        padding: the token number that fills up shorter sequences.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `fp32`, `bf16`, or `auto`: bf16 on a GPU that multiplies in it, else fp32.
        threads: PyTorch's threads in this process; 0 leaves them as they are.

    Raises:
        CheckpointError: weights are missing or damaged.
        InvalidParameterError: there is no such device.
    """

    def __init__(
        self, checkpoint: Checkpoint, padding: int, *, device: str, dtype: str, threads: int
    ) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self._process = os.getpid()
        self.device = torch_device(device)
        self._padding = padding
        precision = _precision(dtype, self.device)
        with torch.inference_mode():
            self.backbone: Backbone = load_backbone(checkpoint, self.device, precision)
            self._projection: list[Projection] = load_projection(
                checkpoint, self.backbone.hidden_size, self.device, precision
            )
        self._batch_tokens = _CUDA_BATCH_TOKENS if self.device.type == "cuda" else _CPU_BATCH_TOKENS

    def encode(
        self,
        sequences: Sequence[TokenSequence],
        language: str | None = None,
        done: Callable[[int], None] | None = None,
    ) -> list[FloatArray]:
        """Encode sequences of one language.

        Args:
            sequences: in any order and of any length.
            language: a language adapter of the backbone, or None where it has none.
            done: called after each batch with the number of sequences in it.

        Returns:
            One float32 array [kept tokens, dim] per sequence, in the order given.

        Raises:
            EncoderError: the model gave NaN or infinity, or one sequence exceeds GPU memory.
        """
        self._notice_fork()
        vectors: list[FloatArray] = [_EMPTY] * len(sequences)
        waiting = plan_batches([len(one.ids) for one in sequences], self._batch_tokens)
        waiting.reverse()
        while waiting:
            batch = waiting.pop()
            rows = self._attempt([sequences[index] for index in batch], language)
            if rows is None:
                middle = len(batch) // 2
                waiting += [batch[middle:], batch[:middle]]
                continue
            for index, row in zip(batch, rows, strict=True):
                vectors[index] = row
            if done is not None:
                done(len(batch))
        return vectors

    def _notice_fork(self) -> None:
        """In a forked process go on with one thread: PyTorch's others are not there any more.

        It would wait for them for ever.
        """
        if os.getpid() == self._process:
            return
        import torch

        torch.set_num_threads(1)
        self._process = os.getpid()
        _logger.warning(
            "this process was forked from one that had loaded the encoder: it encodes with one "
            "thread; load the encoder after the fork to use all cores"
        )

    def _attempt(
        self, sequences: list[TokenSequence], language: str | None
    ) -> list[FloatArray] | None:
        """One batch's vectors, or None where it must be halved to fit GPU memory."""
        import torch

        try:
            with torch.inference_mode():
                flat = self._forward(sequences, language)
        except torch.cuda.OutOfMemoryError as error:
            if len(sequences) == 1:
                raise EncoderError(
                    f"one text of {len(sequences[0].ids)} tokens exceeds the memory of "
                    f"{self.device}; use device='cpu', or dtype='bf16'"
                ) from error
            _logger.info("a batch of %d texts exceeded GPU memory and is halved", len(sequences))
            torch.cuda.empty_cache()
            return None
        if not np.isfinite(flat).all():
            raise EncoderError(
                "the encoder gave NaN or infinity; its weights are damaged, or bf16 is too coarse "
                "for it: try dtype='fp32'"
            )
        ends = np.cumsum([len(one.kept) for one in sequences])
        return np.split(flat, ends[:-1])

    def _forward(self, sequences: list[TokenSequence], language: str | None) -> FloatArray:
        import torch

        packed = pack(sequences, self._padding)
        hidden = self.backbone(self._put(packed.ids), self._put(packed.attention), language)
        # Only what is kept is projected; the rest of the batch is padding and skipped tokens.
        kept = hidden.flatten(0, 1).index_select(0, self._put(packed.rows))
        for projection in self._projection:
            kept = projection(kept)
        unit = torch.nn.functional.normalize(kept.float(), dim=-1)
        vectors: FloatArray = unit.cpu().numpy()
        return vectors

    def _put(self, array: np.ndarray) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(array)
        if self.device.type != "cuda":
            return tensor.to(self.device)
        # From pageable memory each copy would wait for what the device has still to do.
        return tensor.pin_memory().to(self.device, non_blocking=True)


_EMPTY: Final[FloatArray] = np.empty((0, 0), dtype=np.float32)


def torch_device(name: str) -> torch.device:
    """The device of a name: `auto` (CUDA where there is any), `cpu`, `cuda` or `cuda:N`.

    Raises:
        InvalidParameterError: no such name, or a GPU that is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidParameterError(
            f"device {name!r} is not known; give auto, cpu, cuda or cuda:N"
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidParameterError(f"device {name!r} is not supported; give auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidParameterError(
            f"device {name!r} is not there ({torch.cuda.device_count()} CUDA devices); "
            "give device='cpu' or 'auto'"
        )
    return device


def _precision(dtype: str, device: torch.device) -> torch.dtype:
    import torch

    if dtype == "auto":
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= BFLOAT16_SINCE
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if dtype == "bf16" else torch.float32
