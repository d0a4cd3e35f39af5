"""BERT's forward pass, straight from its weights.

The public checkpoints' own backbone is BERT, and loading it through `transformers` imports
several thousand modules first, which takes longer than everything else of a cold search
together. This reads the same tensors and needs PyTorch alone. Any other backbone, and any BERT
whose configuration holds something unusual, goes through `transformers`.

Source: Devlin et al. 2019 (BERT), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import CheckpointError
from .configuration import Settings
from .weights import missing_tensor, read_tensors, weight_files

if TYPE_CHECKING:
    import torch

_ACTIVATIONS: Final = frozenset({"gelu", "relu", "silu", "gelu_new", "gelu_pytorch_tanh"})
_PREFIXES: Final = ("bert.", "model.")
_SIZES: Final = (
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
)
_WIDEST: Final = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One encoder layer's tensors; query, key and value are one matrix."""

    attention: tuple[torch.Tensor, torch.Tensor]
    attention_output: tuple[torch.Tensor, torch.Tensor]
    attention_norm: tuple[torch.Tensor, torch.Tensor]
    intermediate: tuple[torch.Tensor, torch.Tensor]
    output: tuple[torch.Tensor, torch.Tensor]
    output_norm: tuple[torch.Tensor, torch.Tensor]


def is_plain_bert(config: dict[str, Any]) -> bool:
    """Whether a `config.json` describes the BERT that `Bert` computes."""
    return (
        config.get("model_type") == "bert"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and config.get("hidden_act", "gelu") in _ACTIVATIONS
        and not config.get("is_decoder")
        and not config.get("auto_map")
        and not config.get("quantization_config")
    )


class Bert:
    """A BERT encoder: token ids in, last hidden states out.

    Args:
        folder: holds the weights; names may carry the prefix `bert.`.
        config: its `config.json`.
        device, dtype: where and in which precision to compute.

    Raises:
        CheckpointError: a tensor is missing or of another shape than the configuration says.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype
    ) -> None:
        path = folder / "config.json"
        sizes = {key: Settings(path, config).number(key, 1, _WIDEST) for key in _SIZES}
        width, inner = sizes["hidden_size"], sizes["intermediate_size"]
        self.hidden_size, self._heads = width, sizes["num_attention_heads"]
        if width % self._heads:
            raise CheckpointError(f"{path}: num_attention_heads must divide hidden_size")
        self._epsilon = Settings(path, config).fraction("layer_norm_eps", 1e-12)
        self._activation = _activation(config.get("hidden_act", "gelu"))
        tensors = _Tensors(folder, device, dtype)
        self._words = tensors.embedding("word", sizes["vocab_size"], width)
        kinds = tensors.embedding("token_type", sizes["type_vocab_size"], width)
        places = tensors.embedding("position", sizes["max_position_embeddings"], width)
        # Every token is of type 0 here, so its row can be added to the positions once.
        self._positions = places + kinds[0]
        self._norm = tensors.norm("embeddings.LayerNorm", width)
        self._layers = [
            _layer(tensors, f"encoder.layer.{number}.", width, inner)
            for number in range(sizes["num_hidden_layers"])
        ]

    def __call__(
        self, ids: torch.Tensor, attention: torch.Tensor, language: str | None = None
    ) -> torch.Tensor:
        """Last hidden states [batch, length, hidden_size] of int64 ids [batch, length].

        `attention` is bool [batch, length]: the tokens that others may look at. `language` is
        part of a backbone's interface; BERT has none.
        """
        from torch.nn.functional import embedding

        hidden = embedding(ids, self._words) + self._positions[: ids.shape[1]]
        hidden = self._normalise(hidden, self._norm)
        mask = None if bool(attention.all()) else attention[:, None, None, :]
        for layer in self._layers:
            hidden = self._apply(layer, hidden, mask)
        return hidden

    def _apply(
        self, layer: _Layer, hidden: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        from torch.nn.functional import linear, scaled_dot_product_attention

        batch, length, width = hidden.shape
        mixed = linear(hidden, *layer.attention)
        mixed = mixed.view(batch, length, 3, self._heads, width // self._heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        context = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        context = context.transpose(1, 2).reshape(batch, length, width)
        hidden = hidden + linear(context, *layer.attention_output)
        hidden = self._normalise(hidden, layer.attention_norm)
        inner = self._activation(linear(hidden, *layer.intermediate))
        return self._normalise(hidden + linear(inner, *layer.output), layer.output_norm)

    def _normalise(
        self, hidden: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        return layer_norm(hidden, (self.hidden_size,), *norm, eps=self._epsilon)


class _Tensors:
    """A folder's tensors by BERT's own names; each is checked for shape as it is taken."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._paths = weight_files(folder)
        self._tensors = {_own_name(name): value for name, value in read_tensors(folder).items()}
        self._device, self._dtype = device, dtype

    def take(self, name: str, *shape: int) -> torch.Tensor:
        if name not in self._tensors:
            raise missing_tensor(self._paths, name)
        tensor = self._tensors[name]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{self._paths[0]}: {name!r} has shape {tuple(tensor.shape)}, but config.json "
                f"asks for {shape}"
            )
        return tensor.to(self._device, self._dtype)

    def embedding(self, name: str, rows: int, width: int) -> torch.Tensor:
        return self.take(f"embeddings.{name}_embeddings.weight", rows, width)

    def linear(self, name: str, outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.take(f"{name}.weight", outputs, inputs), self.take(f"{name}.bias", outputs)

    def norm(self, name: str, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.take(f"{name}.weight", width), self.take(f"{name}.bias", width)


def _own_name(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    # Names from the days of TensorFlow checkpoints.
    if name.endswith("LayerNorm.gamma"):
        return name.removesuffix("gamma") + "weight"
    if name.endswith("LayerNorm.beta"):
        return name.removesuffix("beta") + "bias"
    return name


def _layer(tensors: _Tensors, prefix: str, width: int, inner: int) -> _Layer:
    import torch

    parts = [
        tensors.linear(f"{prefix}attention.self.{part}", width, width)
        for part in ("query", "key", "value")
    ]
    weights, biases = zip(*parts, strict=True)
    return _Layer(
        attention=(torch.cat(weights), torch.cat(biases)),
        attention_output=tensors.linear(f"{prefix}attention.output.dense", width, width),
        attention_norm=tensors.norm(f"{prefix}attention.output.LayerNorm", width),
        intermediate=tensors.linear(f"{prefix}intermediate.dense", inner, width),
        output=tensors.linear(f"{prefix}output.dense", width, inner),
        output_norm=tensors.norm(f"{prefix}output.LayerNorm", width),
    )


def _activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    from torch.nn import functional

    if name in ("gelu_new", "gelu_pytorch_tanh"):
        return lambda values: functional.gelu(values, approximate="tanh")
    found: Callable[[torch.Tensor], torch.Tensor] = getattr(functional, name)
    return found
