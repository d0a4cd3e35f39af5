"""Reads `modules.json`: which modules a sentence-transformers or PyLate folder is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import CheckpointError
from ..shown import shown
from .configuration import Settings, read_json, read_object

ACTIVATIONS: Final = frozenset(
    {"Identity", "ReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "ELU", "LeakyReLU", "Mish", "Softplus"}
)
"""Activations of a Dense module, by the class name that its configuration ends with."""

# They change nothing here: vectors are normalised anyway, and nothing is dropped out.
_NEUTRAL: Final = frozenset({"Normalize", "Dropout"})
_WIDEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class DenseModule:
    """One Dense module: activation(linear(x)), plus the input itself where `residual`."""

    folder: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str
    residual: bool


@dataclass(frozen=True, slots=True)
class Modules:
    """What `modules.json` lists.

    Args:
        transformer: folder of the transformer.
        dense: Dense modules in order.
        pools: whether token vectors are pooled into one, so that what follows is not per token.
    """

    transformer: Path
    dense: tuple[DenseModule, ...]
    pools: bool


def read_modules(folder: Path) -> Modules | None:
    """The modules of a folder, or None where it has no `modules.json`.

    Raises:
        CheckpointError: the list names no transformer, a module of unknown kind between token
            vectors and output, or a folder outside the checkpoint.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return None
    listed = [_kind_and_folder(path, entry) for entry in _entries(path)]
    kinds = [kind for kind, _ in listed]
    if not kinds or kinds[0] != "Transformer":
        raise CheckpointError(
            f"{path} must list a Transformer first, not {kinds[:1]}; only text encoders with one "
            "vector per token can be used"
        )
    pools = "Pooling" in kinds
    if not pools:
        for kind in kinds[1:]:
            if kind not in _NEUTRAL | {"Dense"}:
                raise CheckpointError(f"{path} lists a module of unknown kind {shown(kind)}")
    dense = () if pools else tuple(_dense(where) for kind, where in listed if kind == "Dense")
    return Modules(listed[0][1], dense, pools)


def _entries(path: Path) -> list[object]:
    found = read_json(path)
    if not isinstance(found, list):
        raise CheckpointError(f"{path} must hold a JSON list, not {type(found).__name__}")
    return found


def _kind_and_folder(path: Path, entry: object) -> tuple[str, Path]:
    if not isinstance(entry, dict):
        raise CheckpointError(f"{path}: each module must be a JSON object, not {shown(entry)}")
    found = Settings(path, entry)
    kind = found.text("type", "").rpartition(".")[2]
    inside = Path(found.text("path", ""))
    if inside.is_absolute() or ".." in inside.parts:
        raise CheckpointError(f"{path}: module path {str(inside)!r} leaves the checkpoint folder")
    return kind, path.parent / inside


def _dense(folder: Path) -> DenseModule:
    path = folder / "config.json"
    found = Settings(path, read_object(path))
    activation = found.text("activation_function", "Identity").rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise CheckpointError(
            f"{path}: unknown activation {shown(activation)}; known are "
            f"{', '.join(sorted(ACTIVATIONS))}"
        )
    return DenseModule(
        folder=folder,
        in_features=found.number("in_features", 1, _WIDEST),
        out_features=found.number("out_features", 1, _WIDEST),
        bias=found.flag("bias", True),
        activation=activation,
        residual=found.flag("use_residual", False),
    )
