"""A small index of every kind of file, taken apart into bytes and sealed again after edits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import weft
from weft import Document
from weft.engine.codec import Codec
from weft.engine.errors import WeftError
from weft.engine.storage.checksums import checksum
from weft.kernels import crc32c

from .mutation import json_bytes
from .safetensors_files import MalformedError, file_of, tensors_of

DIM = 8
BLOCK_BYTES = 65536

Files = dict[str, bytes]


def unit_rows(n: int, seed: int, dim: int = DIM) -> np.ndarray:
    """float32 [n, dim], rows of length 1."""
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def documents(first: int, n: int) -> list[Document]:
    """Documents with metadata of every kind."""
    return [
        Document(
            f"d{number}",
            f"text number {number}: loom, weft\n日本 é",
            {"n": number, "x": number / 3, "tags": ["a", number], "deep": {"k": None, "b": True}},
            "en" if number % 2 else None,
        )
        for number in range(first, first + n)
    ]


def _add(index: weft.Index, first: int, n: int) -> None:
    index.add(
        documents(first, n),
        embeddings=[unit_rows(3 + number % 5, number) for number in range(first, first + n)],
    )


def build(path: Path, *, flat: bool = False) -> Files:
    """An index with two segments, coded or flat, and tombstones, as bytes by name."""
    below = 10**6 if flat else 100
    with weft.Index.create(path, dim=DIM, bits=4, flat_below_tokens=below) as index:
        _add(index, 0, 40)
        index.delete(["d3", "d7"])
        index.compact()
        _add(index, 100, 6)
        index.delete(["d5", "d101"])
    manifests = sorted(path.glob("manifest.*.json"))
    for old in manifests[:-1]:
        old.unlink()
    files = {f.relative_to(path).as_posix(): f.read_bytes() for f in path.rglob("*") if f.is_file()}
    names = json.dumps(manifest_of(files))
    return {name: data for name, data in files.items() if _belongs(name, names)}


def _belongs(name: str, manifest: str) -> bool:
    folder, _, rest = name.partition("/")
    return not rest or (folder in ("segments", "codec", "tombstones") and rest[:32] in manifest)


def manifest_name(files: Files) -> str:
    """The name of the only manifest."""
    return next(name for name in files if name.startswith("manifest."))


def manifest_of(files: Files) -> dict[str, Any]:
    """The manifest as JSON, without its checksum."""
    value: dict[str, Any] = json.loads(files[manifest_name(files)])
    value.pop("crc32c", None)
    return value


def sealed(covered: bytes) -> bytes:
    """A manifest of these bytes of JSON, with the checksum that they need."""
    covered = covered.removesuffix(b"}")
    return covered + b',"crc32c":"%08x"}\n' % checksum(covered)


def file_ref(data: bytes) -> dict[str, int]:
    """What a manifest says of a whole file."""
    return {"size_bytes": len(data), "crc32c": checksum(data)}


def block_checksums(data: bytes) -> np.ndarray:
    """uint32: a checksum for each block of 64 KiB."""
    if not data:
        return np.empty(0, dtype=np.uint32)
    return crc32c(np.frombuffer(data, dtype=np.uint8), BLOCK_BYTES)


def seal(files: Files, changed: set[str], manifest: dict[str, Any] | None = None) -> Files:
    """The files with every checksum, length and hash as the changed ones need it.

    Args:
        files: of an index.
        changed: names of those that were edited.
        manifest: to be used in place of that in `files`.
    """
    files = dict(files)
    manifest = manifest_of(files) if manifest is None else manifest
    for segment in manifest["segments"]:
        _seal_segment(files, segment, changed)
    for codec in manifest["codecs"]:
        name = f"codec/{codec['id']}/codec.safetensors"
        if name in changed:
            codec["file"] = file_ref(files[name])
            codec["hash"] = _codec_hash(files[name], codec["hash"])
    for tombstones in manifest["tombstones"]:
        name = f"tombstones/{tombstones['id']}.safetensors"
        if name in changed:
            tombstones["file"] = file_ref(files[name])
    files[manifest_name(files)] = sealed(json_bytes(manifest))
    return files


def _seal_segment(files: Files, segment: dict[str, Any], changed: set[str]) -> None:
    folder = f"segments/{segment['id']}"
    table = f"{folder}/checksums.safetensors"
    parts = ("arrays.safetensors", "passages.sqlite")
    if any(f"{folder}/{part}" in changed for part in parts) and table not in changed:
        sums = {part: block_checksums(files[f"{folder}/{part}"]) for part in parts}
        files[table] = file_of(sums)
    segment["arrays_bytes"], segment["passages_bytes"] = (
        len(files[f"{folder}/{part}"]) for part in parts
    )
    segment["checksums"] = file_ref(files[table])


def _codec_hash(data: bytes, otherwise: str) -> str:
    """The hash of an edited codec, so that only its own checks stand in its way."""
    try:
        return Codec.from_tensors(tensors_of(data)).hash
    except (WeftError, MalformedError):
        return otherwise


class IndexFolder:
    """The folder of an index whose files are replaced for each input and restored afterwards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._present: Files = {}

    def put(self, files: Files) -> None:
        """Make the folder hold these files, writing only those that differ."""
        for path in [*self.path.glob("manifest.*"), *self.path.glob("pins/*")]:
            if path.name not in files:
                path.unlink()
        for name, data in files.items():
            if self._present.get(name) is not data:
                target = self.path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                # A mapping of the file before may still be alive: never write into it.
                target.unlink(missing_ok=True)
                target.write_bytes(data)
        for name in self._present.keys() - files.keys():
            (self.path / name).unlink(missing_ok=True)
        self._present = dict(files)

    def forget(self) -> None:
        """Empty the folder after something else has written to it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._present = {}
