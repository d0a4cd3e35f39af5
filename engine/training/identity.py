"""What a run must share with the one that it goes on from; another is refused by name.

A run that is killed is started again with the same command and finds what it left. What another
command left there must not be taken for that: it would be the wrong model, without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from ..encoder.configuration import read_object
from ..errors import CheckpointError, TrainingError

RUN: Final = "run.json"
"""File in a run's folder: what the run was told."""


def require_same(place: Path, found: object, wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with what a run with another identity left.

    Args:
        place: for the message: where `found` was read.
        found: the identity that was kept, as JSON gave it.
        wanted: this run's, in JSON values.

    Raises:
        TrainingError: they differ; names the folder and what differs.
    """
    known = found if isinstance(found, dict) else {}
    other = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
    if other:
        raise TrainingError(
            f"{place} belongs to a run with another {', '.join(other)}: give the same again to "
            "go on with it, or another output folder to begin anew"
        )


def keep_or_require(folder: Path, told: Mapping[str, Any]) -> None:
    """Note what a run is told in its folder, or refuse to go on there with something else.

    Args:
        folder: of the run; made if it is not there.
        told: in JSON values.

    Raises:
        TrainingError: a run that was told something else began there.
    """
    wanted = json.loads(json.dumps(told))
    path = folder / RUN
    if path.is_file():
        try:
            found = read_object(path)
        except CheckpointError as error:
            raise TrainingError(f"{path} is damaged ({error}): give another folder") from error
        require_same(folder, found, wanted)
        return
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(RUN + ".part")
    aside.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    aside.replace(path)


def digest_of(value: object) -> str:
    """Stands for a large JSON value in what a run was told."""
    content = json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def weights_digest(model: torch.nn.Module) -> str:
    """Tells one start from another: a digest of all weights, whatever device they are on."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        flat = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()
