"""Indexes for the tests of damage: one with everything in it, and one of several blocks."""

from pathlib import Path

import numpy as np
from storage_tools import add, documents, make_batch, new_index

import weft
from weft.engine.storage.compaction import compact
from weft.engine.storage.writer import Writer


def build(path: Path, n_documents: int = 60, n_replaced: int = 15, n_flat: int = 5) -> Path:
    """Two coded segments and a flat one; d0.. replaced, two others deleted, six generations.

    The segments hold `d0`.. (some dead), the replacements of the first of them, and `d1000`...
    """
    directory = new_index(path, flat_below_tokens=10)
    with Writer(directory) as writer, Writer(directory) as early:
        add(writer, documents(n_documents))
        flat = early.stage(make_batch(documents(n_flat, 1000)))
        compact(writer)
        add(writer, documents(n_replaced, version=1), replace=True)
        early.commit(flat)
        writer.commit([], delete=[f"d{n_replaced}", f"d{n_replaced + 1}"])
    return path


def build_large(
    path: Path, n_documents: int = 300, n_rows: int = 60, dim: int = 32, **settings: int
) -> Path:
    """One flat segment of ready-made embeddings, of about a MiB by default."""
    random = np.random.default_rng(0)
    with weft.Index.create(path, dim=dim, **settings) as index:
        rows = random.standard_normal((n_documents, n_rows, dim)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=2, keepdims=True)
        index.add(
            [f"text {number}" for number in range(n_documents)],
            ids=[f"doc-{number}" for number in range(n_documents)],
            embeddings=list(rows),
        )
    return path
