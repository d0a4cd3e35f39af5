"""Reads a checkpoint's tensors, from safetensors or from `.bin` files without running them.

A tensor `NAME` may be stored in a quarter of its bytes as `NAME.int8`, int8 [rows, columns],
and `NAME.scale`, float32 [rows], whose product it is; it is read as float32. The names differ
from those that other readers look for, so that none takes the integers for weights.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from pickle import UnpicklingError  # the exception only; nothing here unpickles
from typing import TYPE_CHECKING, Final

from ..errors import CheckpointError
from .configuration import read_object

if TYPE_CHECKING:
    import torch

_STEMS: Final = ("model.safetensors", "pytorch_model.bin")

INTEGERS: Final = ".int8"
SCALES: Final = ".scale"
"""Endings of the two tensors that stand for one with a byte per weight."""


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a module's weights, safetensors preferred, shards in order.

    Raises:
        CheckpointError: there are none, or an index names a file outside the folder.
    """
    for stem in _STEMS:
        if (folder / stem).is_file():
            return [folder / stem]
        index = folder / f"{stem}.index.json"
        if index.is_file():
            return _shards(index)
    raise CheckpointError(
        f"{folder} holds no weights ({' or '.join(_STEMS)}); copy the checkpoint's weights there"
    )


def read_tensors(folder: Path, names: frozenset[str] | None = None) -> dict[str, torch.Tensor]:
    """All tensors of a folder's weight files, or those of the given names that are there.

    Raises:
        CheckpointError: a file is damaged, or holds more than tensors.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            tensors.update(_widened(_read_safetensors(path, names), path))
        else:
            tensors.update(_read_bin(path, names))
    return tensors


def has_integers(folder: Path) -> bool:
    """Whether a folder's weights are stored with a byte each.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    for path in weight_files(folder):
        if path.suffix != ".safetensors":
            continue
        try:
            with safe_open(path, framework="np") as file:
                if any(name.endswith(INTEGERS) for name in file.keys()):  # noqa: SIM118
                    return True
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
    return False


def tensor_shape(folder: Path, name: str) -> tuple[int, ...]:
    """The shape of one tensor, without reading its values where the format allows it.

    Raises:
        CheckpointError: no weight file of the folder holds it.
    """
    from safetensors import SafetensorError, safe_open

    paths = weight_files(folder)
    for path in paths:
        if path.suffix != ".safetensors":
            found = _read_bin(path, frozenset({name}))
            if name in found:
                return tuple(found[name].shape)
            continue
        try:
            with safe_open(path, framework="np") as file:
                if name in file.keys():  # noqa: SIM118 (the file is no mapping)
                    return tuple(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
    raise missing_tensor(paths, name)


def missing_tensor(paths: list[Path], name: str) -> CheckpointError:
    """The error for a tensor that no weight file holds."""
    where = ", ".join(str(path) for path in paths)
    return CheckpointError(
        f"{where} holds no tensor {name!r}, which this layout needs; use the complete checkpoint"
    )


def _shards(index: Path) -> list[Path]:
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index}: 'weight_map' must name the weight files")
    beside = {path.name for path in index.parent.iterdir() if path.is_file()}
    for name in names.values():
        if not isinstance(name, str) or name not in beside:
            raise CheckpointError(f"{index} names {reprlib.repr(name)}, which is not beside it")
    return [index.parent / name for name in sorted(set(names.values()))]


def _read_safetensors(path: Path, names: frozenset[str] | None) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            wanted = [name for name in file.keys() if names is None or _stem(name) in names]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _stem(name: str) -> str:
    return name.removesuffix(INTEGERS).removesuffix(SCALES)


def _widened(tensors: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Tensors with those of a byte per weight multiplied out."""
    found = {name: value for name, value in tensors.items() if not name.endswith(SCALES)}
    for name in [name for name in found if name.endswith(INTEGERS)]:
        stem = name.removesuffix(INTEGERS)
        integers, scale = found.pop(name), tensors.get(stem + SCALES)
        if scale is None or integers.dim() != 2 or scale.shape != integers.shape[:1]:
            raise CheckpointError(
                f"{path}: {name!r} must be a matrix with a scale per row in {stem + SCALES!r}; "
                "fetch it again"
            )
        found[stem] = integers.float() * scale.float()[:, None]
    return found


def _read_bin(path: Path, names: frozenset[str] | None) -> dict[str, torch.Tensor]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors, and Weft runs no code from a "
            "checkpoint; use its model.safetensors instead"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError) as error:
        raise _damaged(path, error) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold named tensors, not {type(found).__name__}")
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, torch.Tensor) and (names is None or name in names)
    }


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()
    return CheckpointError(
        f"{path} cannot be read as weights ({reason[0] if reason else type(error).__name__}); "
        "fetch it again"
    )
