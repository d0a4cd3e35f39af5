"""An attacker's hand: files of an index rewritten so that every checksum is right."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from weft import kernels
from weft.engine.storage.checksums import checksum
from weft.engine.storage.manifest import encode_payload

ARRAYS = "arrays.safetensors"
PASSAGES = "passages.sqlite"
CHECKSUMS = "checksums.safetensors"
FIELDS = {ARRAYS: "arrays_bytes", PASSAGES: "passages_bytes"}


def newest_manifest(root: Path) -> Path:
    return max(root.glob("manifest.*.json"))


def read_manifest(root: Path) -> dict:
    fields = json.loads(newest_manifest(root).read_bytes())
    del fields["crc32c"]
    return fields


def forge_manifest(root: Path, change: Callable[[dict], None]) -> None:
    """Change the fields of the newest manifest."""
    fields = read_manifest(root)
    change(fields)
    newest_manifest(root).write_bytes(encode_payload(fields))


def segment_folder(root: Path, number: int = 0) -> Path:
    """The folder of a segment by its place in the newest manifest."""
    return root / "segments" / read_manifest(root)["segments"][number]["id"]


def table(data: bytes) -> np.ndarray:
    """The checksums of a file's blocks."""
    return kernels.crc32c(np.frombuffer(data, np.uint8), 65536)


def seal_segment(root: Path, number: int = 0, **fields) -> None:
    """Let checksums and manifest fit the files of a segment as they are now."""
    folder = segment_folder(root, number)
    sums = {file: table((folder / file).read_bytes()) for file in FIELDS}
    data = save(sums)
    (folder / CHECKSUMS).write_bytes(data)

    def change(manifest: dict) -> None:
        ref = manifest["segments"][number]
        ref.update({field: (folder / file).stat().st_size for file, field in FIELDS.items()})
        ref["checksums"] = {"size_bytes": len(data), "crc32c": checksum(data)}
        ref.update(fields)

    forge_manifest(root, change)


def forge_arrays(root: Path, change: Callable[[dict], None], number: int = 0, **fields) -> None:
    """Change the tensors of a segment, and fields of the manifest with them."""
    path = segment_folder(root, number) / ARRAYS
    tensors = {
        key: np.array(tensor)
        for key, tensor in load(path.read_bytes()).items()
        if not key.startswith("_padding")
    }
    change(tensors)
    path.write_bytes(save(tensors))
    seal_segment(root, number, **fields)


def forge_sqlite(root: Path, *statements: str | tuple[str, tuple], number: int = 0) -> None:
    """Run statements on a segment's SQLite file."""
    path = segment_folder(root, number) / PASSAGES
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            sql, values = (statement, ()) if isinstance(statement, str) else statement
            connection.execute(sql, values)
    seal_segment(root, number)


def forge_bytes(root: Path, change: Callable[[bytearray], None], number: int = 0) -> None:
    """Change the bytes of a segment's SQLite file."""
    path = segment_folder(root, number) / PASSAGES
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(bytes(data))
    seal_segment(root, number)


def forge_file(root: Path, kind: str, change: Callable[[dict], None]) -> None:
    """Change the tensors of the first codec or tombstone file."""
    fields = read_manifest(root)
    ref = fields["codecs" if kind == "codec" else "tombstones"][0]
    path = root / (
        f"codec/{ref['id']}/codec.safetensors"
        if kind == "codec"
        else f"tombstones/{ref['id']}.safetensors"
    )
    tensors = {
        key: np.array(tensor)
        for key, tensor in load(path.read_bytes()).items()
        if not key.startswith("_padding")
    }
    change(tensors)
    data = save(tensors)
    path.write_bytes(data)
    ref["file"] = {"size_bytes": len(data), "crc32c": checksum(data)}
    newest_manifest(root).write_bytes(encode_payload(fields))
