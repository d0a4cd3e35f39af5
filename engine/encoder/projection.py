"""The projection from a backbone's hidden states to embeddings: nothing, one matrix, or several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import CheckpointError
from ..limits import MAX_DIM
from .checkpoint import Checkpoint, Layout
from .modules import DenseModule
from .weights import missing_tensor, read_tensors, weight_files

if TYPE_CHECKING:
    import torch

HF_COLBERT_WEIGHT: Final = "linear.weight"
"""The projection's name among the weights of an `HF_ColBERT` checkpoint."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """One module: activation(x Wᵀ + b), plus x (or x Rᵀ) where the module has a residual path."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    activation: Callable[[torch.Tensor], torch.Tensor]
    residual: bool
    residual_weight: torch.Tensor | None

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Project [n, in_features] to [n, out_features]."""
        from torch.nn.functional import linear

        projected = self.activation(linear(hidden, self.weight, self.bias))
        if not self.residual:
            return projected
        if self.residual_weight is None:
            return projected + hidden
        return projected + linear(hidden, self.residual_weight)


def load_projection(
    checkpoint: Checkpoint, hidden_size: int, device: torch.device, dtype: torch.dtype
) -> list[Projection]:
    """The projection's modules in order; empty for the plain layout.

    Raises:
        CheckpointError: a weight is missing, or its shape does not fit its neighbours.
    """
    if checkpoint.layout is Layout.PLAIN:
        return []
    if checkpoint.layout is Layout.HF_COLBERT:
        return [_hf_colbert(checkpoint, hidden_size, device, dtype)]
    projections = []
    width = hidden_size
    for module in checkpoint.dense:
        if module.in_features != width:
            raise CheckpointError(
                f"{module.folder / 'config.json'}: in_features is {module.in_features}, but the "
                f"module before it gives {width}"
            )
        projections.append(_dense(module, device, dtype))
        width = module.out_features
    if width > MAX_DIM:
        raise CheckpointError(f"{checkpoint.folder}: dim {width} exceeds the limit of {MAX_DIM}")
    return projections


def _hf_colbert(
    checkpoint: Checkpoint, hidden_size: int, device: torch.device, dtype: torch.dtype
) -> Projection:
    paths = weight_files(checkpoint.folder)
    found = read_tensors(checkpoint.folder, frozenset({HF_COLBERT_WEIGHT}))
    if HF_COLBERT_WEIGHT not in found:
        raise missing_tensor(paths, HF_COLBERT_WEIGHT)
    weight = found[HF_COLBERT_WEIGHT]
    dim = checkpoint.dim if checkpoint.dim is not None else weight.shape[0]
    if tuple(weight.shape) != (dim, hidden_size):
        raise CheckpointError(
            f"{paths[0]}: {HF_COLBERT_WEIGHT!r} has shape {tuple(weight.shape)}, but "
            f"artifact.metadata and config.json ask for {(dim, hidden_size)}"
        )
    return Projection(weight.to(device, dtype), None, _identity, False, None)


def _dense(module: DenseModule, device: torch.device, dtype: torch.dtype) -> Projection:
    import torch

    wanted: dict[str, tuple[int, ...]] = {
        "linear.weight": (module.out_features, module.in_features)
    }
    if module.bias:
        wanted["linear.bias"] = (module.out_features,)
    if module.residual and module.in_features != module.out_features:
        wanted["residual.weight"] = (module.out_features, module.in_features)
    found = read_tensors(module.folder)
    paths = weight_files(module.folder)
    for name, shape in wanted.items():
        if name not in found:
            raise missing_tensor(paths, name)
        if tuple(found[name].shape) != shape:
            raise CheckpointError(
                f"{paths[0]}: {name!r} has shape {tuple(found[name].shape)}, but config.json "
                f"beside it asks for {shape}"
            )
    kept = {name: found[name].to(device, dtype) for name in wanted}
    activation = getattr(torch.nn, module.activation)()
    return Projection(
        weight=kept["linear.weight"],
        bias=kept.get("linear.bias"),
        activation=activation,
        residual=module.residual,
        residual_weight=kept.get("residual.weight"),
    )


def _identity(values: torch.Tensor) -> torch.Tensor:
    return values
