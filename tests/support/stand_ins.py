"""Segments and passages in memory, with what search may ask of storage's views."""

import numpy as np

LARGE = ("embeddings", "codes", "residuals", "inverse_norms", "ivf_pids")


class StandInSegment:
    """Large arrays read as garbage until `touch` has been called for their rows."""

    def __init__(self, kind, dim, doclens, passage_document=None, alive=None, codec=None, **arrays):
        self.kind, self.dim, self.alive, self.codec = kind, dim, alive, codec
        self.n_passages = len(doclens)
        self.offsets = np.concatenate(([0], np.cumsum(doclens))).astype(np.int64)
        if passage_document is None:
            passage_document = np.arange(len(doclens))
        self.passage_document = np.asarray(passage_document, dtype=np.uint32)
        self.true = {name: arrays[name] for name in LARGE if name in arrays}
        for name, array in arrays.items():
            setattr(self, name, np.zeros_like(array) if name in LARGE else array)

    def touch(self, name, starts, ends):
        seen, true = getattr(self, name), self.true[name]
        for start, end in zip(starts, ends, strict=True):
            seen[start:end] = true[start:end]


def flat_segment(passages, **more):
    embeddings = np.concatenate(passages).astype(np.float16)
    doclens = [len(passage) for passage in passages]
    return StandInSegment("flat", embeddings.shape[1], doclens, embeddings=embeddings, **more)


def coded_segment(codes, residuals, inverse_norms, doclens, dim, n_centroids, sparse, **more):
    """A segment of packed arrays; its inverted lists are built pair by pair."""
    passage = np.repeat(np.arange(len(doclens)), doclens)
    lists = [[] for _ in range(n_centroids)]
    for code, pid in sorted(set(zip(codes.tolist(), passage.tolist(), strict=True))):
        lists[code].append(pid)
    kept = [c for c in range(n_centroids) if lists[c]] if sparse else range(n_centroids)
    lengths = [len(lists[c]) for c in kept]
    return StandInSegment(
        "coded",
        dim,
        doclens,
        codes=codes,
        residuals=residuals,
        inverse_norms=inverse_norms,
        n_centroids=n_centroids,
        ivf_centroids=np.array(kept, dtype=np.uint32) if sparse else None,
        ivf_offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        ivf_pids=np.array([pid for c in kept for pid in lists[c]], dtype=np.uint32),
        **more,
    )


class StandInStore:
    """Metadata look-ups over a list of objects, leaf by leaf."""

    def __init__(self, metadata):
        self.metadata = list(metadata)
        self.id_table = range(len(self.metadata))

    def documents_where(self, key, operator, operand):
        found = [
            docno
            for docno, metadata in enumerate(self.metadata)
            if (found := find(metadata, key)) is not None and holds(found[0], operator, operand)
        ]
        return np.array(found, dtype=np.uint32)


def find(metadata, path):
    """`(value,)` under a dotted path, None where there is none."""
    for part in path.split("."):
        if not isinstance(metadata, dict) or part not in metadata:
            return None
        metadata = metadata[part]
    return (metadata,)


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def holds(value, operator, operand):
    if operator == "$exists":
        return True
    if operator == "$eq":
        return same(value, operand)
    if operator == "$in":
        return any(same(value, element) for element in operand)
    if operator == "$contains":
        if isinstance(value, list):
            return any(same(element, operand) for element in value)
        return isinstance(value, str) and isinstance(operand, str) and operand in value
    if isinstance(value, bool) or isinstance(value, str) != isinstance(operand, str):
        return False
    if not isinstance(value, str | int | float):
        return False
    return {
        "$gt": value > operand,
        "$gte": value >= operand,
        "$lt": value < operand,
        "$lte": value <= operand,
    }[operator]
