"""PLAID from its definitions, in NumPy and float64, one passage after the other.

Santhanam et al. 2022 (PLAID), section 4; residual codec of Santhanam et al. 2022 (ColBERTv2),
section 3.3. Nothing of Weft is called.
"""

from dataclasses import dataclass

import numpy as np


def bits_of(value, bits):
    return [(value >> i) & 1 for i in range(bits)]


def probes(table, nprobe):
    """The `nprobe` best centroids of each query vector, the first of equals first."""
    return {code for column in table.T for code in np.argsort(-column, kind="stable")[:nprobe]}


@dataclass
class Coder:
    """Given centroids and buckets, codes vectors and decodes them again."""

    centroids: np.ndarray
    cutoffs: np.ndarray
    weights: np.ndarray
    low: float
    high: float

    @property
    def bits(self):
        return int(np.log2(len(self.weights)))

    def encode(self, rows):
        """Codes, bucket numbers and inverse norm bytes."""
        rows = rows.astype(np.float64)
        codes = (rows @ self.centroids.T.astype(np.float64)).argmax(axis=1)
        residuals = rows - self.centroids[codes]
        buckets = (residuals[:, :, None] >= self.cutoffs).sum(axis=2)
        norms = np.linalg.norm(self.centroids[codes] + self.weights[buckets], axis=1)
        steps = np.round((1 / norms - self.low) / (self.high - self.low) * 255)
        return codes, buckets, np.clip(steps, 0, 255).astype(int)

    def decode(self, codes, buckets, steps):
        inverse = self.low + steps / 255 * (self.high - self.low)
        rows = self.centroids[codes].astype(np.float64) + self.weights[buckets]
        return rows * inverse[:, None]

    def pack(self, buckets):
        """Element d starts at bit d * bits, least significant bit first."""
        flat = [[bit for value in row for bit in bits_of(value, self.bits)] for row in buckets]
        rows = [np.packbits(row, bitorder="little") for row in flat]
        return np.array(rows, dtype=np.uint8)


def maxsim(query, rows):
    return float((query.astype(np.float64) @ rows.astype(np.float64).T).max(axis=1).sum())


def best(scores, names, n):
    """The n names of highest score, the first of equals first."""
    order = sorted(range(len(names)), key=lambda i: (-scores[i], i))
    return [names[i] for i in order[:n]]


class NumpyPlaid:
    """Passages by name, coded by one coder; `search` returns all that stage 4 has scored."""

    def __init__(self, coder, passages):
        self.coder = coder
        self.coded = {name: coder.encode(rows) for name, rows in passages.items()}
        self.rebuilt = {name: coder.decode(*parts) for name, parts in self.coded.items()}

    def exact(self, query, names):
        return {name: maxsim(query, self.rebuilt[name]) for name in names}

    def search(self, query, names, *, nprobe, threshold, ndocs, n_rescored):
        table = self.coder.centroids.astype(np.float64) @ query.T.astype(np.float64)
        pool = self.candidates(table, names, nprobe)
        if threshold is not None:
            pruned = [self.interact(table, name, threshold) for name in pool]
            pool = sorted(best(pruned, pool, ndocs), key=pool.index)
        full = [self.interact(table, name, None) for name in pool]
        return self.exact(query, best(full, pool, n_rescored))

    def candidates(self, table, names, nprobe):
        probed = probes(table, nprobe)
        return [name for name in names if probed & set(self.coded[name][0].tolist())]

    def interact(self, table, name, threshold):
        rows = table[self.coded[name][0]]
        if threshold is not None:
            rows = rows[rows.max(axis=1) >= threshold]
        return rows.max(axis=0).sum() if len(rows) else -np.inf


class NumpyLineage(NumpyPlaid):
    """The same for one epoch, whose passages were coded with its first so many centroids.

    Each passage is probed among the centroids that it was coded with; all are scored with the
    longest list.
    """

    def __init__(self, coder, passages, lengths):
        shorter = {
            length: Coder(
                coder.centroids[:length], coder.cutoffs, coder.weights, coder.low, coder.high
            )
            for length in set(lengths.values())
        }
        self.coder, self.lengths = coder, lengths
        self.coded = {name: shorter[lengths[name]].encode(rows) for name, rows in passages.items()}
        self.rebuilt = {name: coder.decode(*parts) for name, parts in self.coded.items()}

    def candidates(self, table, names, nprobe):
        best = {length: probes(table[:length], nprobe) for length in set(self.lengths.values())}
        return [n for n in names if best[self.lengths[n]] & set(self.coded[n][0].tolist())]
