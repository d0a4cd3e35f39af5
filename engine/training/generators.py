"""What writes synthetic queries: any function from prompts to texts, or a local language model."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from ..encoder.backbone import quiet_transformers
from ..encoder.runtime import torch_device
from ..encoder.source import locate
from ..errors import CheckpointError, InvalidParameterError, MissingDependencyError

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
_FAILURES: Final = (OSError, ValueError, RuntimeError, LookupError, TypeError, struct.error)


class Generator(Protocol):
    """Answers prompts."""

    def generate(self, prompts: Sequence[str]) -> list[str]:
        """One text per prompt, without the prompt."""


class LocalGenerator:
    """A causal or sequence-to-sequence model, from a folder, a hub or a GGUF file.

    Args:
        name: folder or hub name, or a `.gguf` file (needs the package gguf).
        max_new_tokens: longest answer.
        temperature: 0 takes the likeliest token each time; above it draws.
        seed: of drawing.
        batch: prompts answered together.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: "fp32", or "bf16" for half the memory and, where the processor multiplies
            bfloat16, several times the speed.

    Raises:
        CheckpointError: it cannot be read as a language model.
        InvalidParameterError: another dtype.
        MissingDependencyError: a GGUF file without the package gguf.
    """

    def __init__(
        self,
        name: str | Path,
        *,
        max_new_tokens: int = 48,
        temperature: float = 0.0,
        seed: int = 0,
        batch: int = 8,
        device: str = "auto",
        dtype: str = "fp32",
    ) -> None:
        if dtype not in _DTYPES:
            raise InvalidParameterError(f"dtype is {dtype!r}: use one of {', '.join(_DTYPES)}.")
        chosen = torch_device(device)
        self._tokenizer, model, self._causal = _load(
            Path(name).expanduser(), str(name), _DTYPES[dtype]
        )
        self._model: Any = model.eval().to(chosen)
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._tokenizer.padding_side = "left" if self._causal else "right"
        self._max_new_tokens, self._temperature = max_new_tokens, temperature
        self._seed, self._batch = seed, batch

    def generate(self, prompts: Sequence[str]) -> list[str]:
        """One text per prompt, without the prompt."""
        answers: list[str] = []
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            for first in range(0, len(prompts), self._batch):
                answers += self._answer(prompts[first : first + self._batch])
        return answers

    def _answer(self, prompts: Sequence[str]) -> list[str]:
        texts = [self._conversation(prompt) for prompt in prompts]
        # A conversation's own template holds its special tokens already.
        own = self._causal and self._tokenizer.chat_template is not None
        inputs = self._tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=not own
        ).to(self._model.device)
        inputs.pop("token_type_ids", None)
        drawn = {"do_sample": True, "temperature": self._temperature}
        found = self._model.generate(
            **inputs,
            max_new_tokens=self._max_new_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            **(drawn if self._temperature > 0 else {"do_sample": False}),
        )
        if self._causal:
            found = found[:, inputs["input_ids"].shape[1] :]
        answers: list[str] = self._tokenizer.batch_decode(found, skip_special_tokens=True)
        return answers

    def _conversation(self, prompt: str) -> str:
        if not self._causal or self._tokenizer.chat_template is None:
            return prompt
        messages = [{"role": "user", "content": prompt}]
        text: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return text


def _load(path: Path, name: str, dtype: torch.dtype) -> tuple[Any, Any, bool]:
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
    )

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    place = path
    if path.suffix == ".gguf":
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}; give a .gguf file that is there")
        options["gguf_file"] = path.name
        place = path.parent
    else:
        place = locate(name).folder
    try:
        with quiet_transformers():
            tokenizer: Any = AutoTokenizer.from_pretrained(place, **options)
            config: Any = AutoConfig.from_pretrained(place, **options)
            causal = not config.is_encoder_decoder
            kind: Any = AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM
            model = kind.from_pretrained(place, dtype=dtype, **options)
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} needs a package that is not installed ({error}): pip install 'weft[train]'."
        ) from error
    except _FAILURES as error:
        raise CheckpointError(
            f"{path} cannot be loaded as a language model ({type(error).__name__}: {error})"
        ) from error
    return tokenizer, model, causal
