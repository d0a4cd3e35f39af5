"""Bring your own vectors: an index that knows only their dim, for any model of any modality."""

import tempfile

import numpy as np

import weft

DIM = 64
rng = np.random.default_rng(0)


def unit_rows(n: int) -> np.ndarray:
    """Stand in for a model: n vectors of length one."""
    rows = rng.normal(size=(n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


pages = [unit_rows(int(n)) for n in rng.integers(20, 60, size=100)]

with weft.Index.create(tempfile.mkdtemp() + "/index", dim=DIM) as index:
    index.add(
        embeddings=pages,
        ids=[f"page-{number}" for number in range(len(pages))],
        metadata=[{"number": number} for number in range(len(pages))],
    )
    query = pages[42][:8]
    for hit in index.search(query, k=3):
        print(f"{hit.score:.3f}  {hit.id}  {hit.metadata}")
