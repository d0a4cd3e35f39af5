"""The vectors that all fixtures are made of; needs NumPy alone, for it runs beside the peers."""

import numpy as np

DIM = 64
N_PASSAGES = 48
N_QUERIES = 4


def passages():
    """float32 [tokens, DIM] of each passage, rows of length 1, around a few directions."""
    rng = np.random.default_rng(6)
    directions = rng.normal(size=(20, DIM))
    found = []
    for length in rng.integers(5, 13, size=N_PASSAGES):
        rows = directions[rng.integers(0, 20, size=length)] + 0.7 * rng.normal(size=(length, DIM))
        found.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return found


def queries():
    """float32 [N_QUERIES, 6, DIM], rows of length 1."""
    rows = np.random.default_rng(7).normal(size=(N_QUERIES, 6, DIM))
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


def maxsim(embeddings, doclens, asked):
    """float32 [queries, passages] by brute force."""
    ends = np.cumsum(doclens)
    parts = np.split(embeddings, ends[:-1])
    return np.array(
        [
            [(query @ part.T).max(axis=1).sum() if len(part) else 0 for part in parts]
            for query in asked
        ],
        dtype=np.float32,
    )
