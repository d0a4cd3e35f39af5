"""Reads the folder of an index made by colbert-ai, which is also what RAGatouille makes.

Layout of colbert-ai 0.2.22: `metadata.json` with the configuration, `centroids.pt`, `buckets.pt`
(cutoffs and weights), and for each chunk `N.codes.pt`, `N.residuals.pt` and `doclens.N.json`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ForeignIndexError
from .foreign import (
    MAX_CHUNKS,
    Array,
    Chunk,
    ForeignIndex,
    as_buckets,
    as_centroids,
    bits_of,
    read_doclens,
    read_object,
    read_tensors,
    whole_number,
)


def read_colbert(folder: Path) -> ForeignIndex:
    """What an index of colbert-ai holds.

    Raises:
        ForeignIndexError: a file is missing, damaged or of another form; names it.
    """
    path = folder / "metadata.json"
    metadata = read_object(path)
    config = metadata.get("config")
    if not isinstance(config, dict):
        raise ForeignIndexError(f"{path} has no 'config': was the indexing run finished?")
    bits = bits_of(config, path)
    centroids = as_centroids(read_tensors(folder / "centroids.pt")[0], folder / "centroids.pt")
    buckets = folder / "buckets.pt"
    cutoffs, weights = read_tensors(buckets, 2)
    return ForeignIndex(
        kind="colbert-ai",
        folder=folder,
        bits=bits,
        centroids=centroids,
        bucket_cutoffs=as_buckets(cutoffs, (1 << bits) - 1, buckets, "bucket cutoffs"),
        bucket_weights=as_buckets(weights, 1 << bits, buckets, "bucket weights"),
        chunks=[
            _chunk(folder, number)
            for number in range(whole_number(metadata, "num_chunks", path, 1, MAX_CHUNKS))
        ],
        checkpoint=_text(config.get("checkpoint")),
        collection=_text(config.get("collection")),
    )


def _chunk(folder: Path, number: int) -> Chunk:
    codes, residuals = folder / f"{number}.codes.pt", folder / f"{number}.residuals.pt"
    return Chunk(
        doclens=read_doclens(folder / f"doclens.{number}.json"),
        codes=partial(_single, codes),
        residuals=partial(_single, residuals),
        name=str(codes),
    )


def _single(path: Path) -> Array:
    return read_tensors(path)[0]


def _text(value: Any) -> str | None:
    """What colbert-ai wrote of a path or name; of a collection in memory it writes an object."""
    return value if isinstance(value, str) and value else None
