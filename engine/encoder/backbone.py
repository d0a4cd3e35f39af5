"""The transformer under an encoder: BERT directly, anything else through `transformers`."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import CheckpointError
from .bert import Bert, is_plain_bert
from .checkpoint import Checkpoint
from .weights import has_integers, read_tensors, weight_files

if TYPE_CHECKING:
    import torch

_quiet_lock: Final = threading.Lock()


class Backbone(Protocol):
    """Token ids in, last hidden states out."""

    hidden_size: int

    def __call__(
        self, ids: torch.Tensor, attention: torch.Tensor, language: str | None = None
    ) -> torch.Tensor:
        """Hidden states [batch, length, hidden_size] of int64 ids and bool attention."""


def load_backbone(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Backbone:
    """Read a checkpoint's transformer.

    Raises:
        CheckpointError: weights are missing or damaged, or it needs code of its own.
    """
    if is_plain_bert(checkpoint.config):
        return Bert(checkpoint.backbone, checkpoint.config, device, dtype)
    return _TransformersBackbone(checkpoint, device, dtype)


class _TransformersBackbone:
    """Any model that `transformers.AutoModel` builds from its own code."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        self._model = load_transformer(checkpoint).to(device=device, dtype=dtype).eval()
        self.hidden_size = int(self._model.config.hidden_size)
        self._languages = checkpoint.languages

    def __call__(
        self, ids: torch.Tensor, attention: torch.Tensor, language: str | None = None
    ) -> torch.Tensor:
        """Hidden states [batch, length, hidden_size] of int64 ids and bool attention."""
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": attention.long()}
        if language is not None:
            inputs["lang_ids"] = ids.new_full((len(ids),), self._languages.index(language))
        hidden: torch.Tensor = self._model(**inputs).last_hidden_state
        return hidden


def load_transformer(checkpoint: Checkpoint) -> Any:
    """A checkpoint's backbone as `transformers` builds it, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: weights are missing or damaged, or it needs code of its own.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel

    folder = checkpoint.backbone
    path = weight_files(folder)[0]
    if path.suffix == ".bin":
        # Read once by hand first: it refuses whatever is more than tensors, and names the file.
        read_tensors(folder)
    failures = (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError)
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            if hasattr(config, "reference_compile"):
                # Compiling at first use spawns compilers, which the library never does.
                config.reference_compile = False
            if has_integers(folder):
                # Its functions carry no annotations.
                models: Any = AutoModel
                model, missing = _widened_transformer(models.from_config(config), folder)
            else:
                model, report = AutoModel.from_pretrained(
                    folder,
                    config=config,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                    use_safetensors=path.suffix == ".safetensors",
                )
                missing = report["missing_keys"]
        except (*failures, SafetensorError) as error:
            raise CheckpointError(
                f"{path} or config.json beside it cannot be loaded as a transformer "
                f"({type(error).__name__}: {error}); Weft loads what transformers supports "
                "itself and never runs a checkpoint's own code"
            ) from error
    missing = sorted(name for name in missing if "pooler" not in name)
    if missing:
        raise CheckpointError(
            f"{path} lacks {len(missing)} tensors of the transformer, {missing[0]!r} among them"
        )
    return model


def _widened_transformer(model: Any, folder: Path) -> tuple[Any, list[str]]:
    """A transformer with weights that are stored as integers, and the names it lacks."""
    report = model.load_state_dict(read_tensors(folder), strict=False)
    return model.eval(), list(report.missing_keys)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep `transformers` from drawing bars and listing the projection as unexpected."""
    # Its functions carry no annotations.
    logging: Any = importlib.import_module("transformers.utils.logging")
    with _quiet_lock:
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
