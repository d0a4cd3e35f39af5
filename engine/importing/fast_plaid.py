"""Reads the folder of an index made by fast-plaid.

Layout: `metadata.json`, `centroids.npy`, `bucket_cutoffs.npy`, `bucket_weights.npy`, and for each
chunk `doclens.N.json`, `N.codes.npy` and `N.residuals.npy`. Later versions move the chunks' arrays
into `merged_codes.npy` and `merged_residuals.npy`, where they stand one behind the other, with rows
of padding at the end; what a chunk has changed since then lies in a file of its own again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from .foreign import (
    MAX_CHUNKS,
    Array,
    Chunk,
    ForeignIndex,
    as_buckets,
    as_centroids,
    bits_of,
    read_doclens,
    read_npy,
    read_object,
    whole_number,
)


def read_fast_plaid(folder: Path) -> ForeignIndex:
    """What an index of fast-plaid holds; it records no encoder.

    Raises:
        ForeignIndexError: a file is missing, damaged or of another form; names it.
    """
    path = folder / "metadata.json"
    metadata = read_object(path)
    bits = bits_of(metadata, path)
    centroids = folder / "centroids.npy"
    return ForeignIndex(
        kind="fast-plaid",
        folder=folder,
        bits=bits,
        centroids=as_centroids(read_npy(centroids), centroids),
        bucket_cutoffs=_buckets(folder, "cutoffs", (1 << bits) - 1),
        bucket_weights=_buckets(folder, "weights", 1 << bits),
        chunks=_chunks(folder, whole_number(metadata, "num_chunks", path, 1, MAX_CHUNKS)),
    )


def _buckets(folder: Path, name: str, length: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    path = folder / f"bucket_{name}.npy"
    values = as_buckets(read_npy(path), length, path, f"bucket {name}")
    # It computes with these in half precision, whatever the file has.
    return values.astype(np.float16).astype(np.float32)


def _chunks(folder: Path, count: int) -> list[Chunk]:
    chunks = []
    first = 0
    merged = _merged_rows(folder)
    for number in range(count):
        doclens = read_doclens(folder / f"doclens.{number}.json")
        n_rows = int(doclens.sum())
        span = slice(first, first + n_rows)
        chunks.append(
            Chunk(
                doclens=doclens,
                codes=partial(_rows, folder, number, "codes", span),
                residuals=partial(_rows, folder, number, "residuals", span),
                name=str(_own_or_merged(folder, number, "codes")),
            )
        )
        first += merged.get(f"{number}.codes.npy", n_rows)
    return chunks


def _merged_rows(folder: Path) -> dict[str, int]:
    """How many rows of the merged file are each chunk's, where that is written down."""
    path = folder / "merged_codes.manifest.json"
    if not path.exists():
        return {}
    entries = read_object(path)
    return {
        name: entry["rows"]
        for name, entry in entries.items()
        if isinstance(entry, dict) and type(entry.get("rows")) is int
    }


def _own_or_merged(folder: Path, number: int, kind: str) -> Path:
    own = folder / f"{number}.{kind}.npy"
    return own if own.exists() else folder / f"merged_{kind}.npy"


def _rows(folder: Path, number: int, kind: str, span: slice) -> Array:
    path = _own_or_merged(folder, number, kind)
    array = read_npy(path)
    rows: Array = array[span] if path.name.startswith("merged_") else array
    return rows
