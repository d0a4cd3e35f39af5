"""Segments and passages in memory, with what search may ask of storage's views."""

import numpy as np

from weft import kernels

LARGE = ("embeddings", "codes", "residuals", "inverse_norms", "ivf_pids")


BLOCK = 65536
IN_FILE = ("codes", "residuals", "inverse_norms", "ivf_pids")


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

        if kind == "coded":
            self.lay_out()

    def lay_out(self):
        """As if the large arrays stood in a file, each from the start of a block."""
        sizes = [-(-self.true[name].nbytes // BLOCK) for name in IN_FILE]
        self.starts = dict(zip(IN_FILE, np.cumsum([0, *sizes])[:-1].tolist(), strict=True))
        self.unchecked = np.ones(sum(sizes), dtype=bool)
        self.held = {name: getattr(self, name) for name in IN_FILE}
        self.coded = kernels.coded_segment(
            *(self.held[name] for name in IN_FILE[:3]),
            self.ivf_centroids,
            self.ivf_offsets,
            self.held["ivf_pids"],
            self.offsets,
            self.n_centroids,
            unchecked=self.unchecked,
            positions=[BLOCK * self.starts[name] for name in IN_FILE],
        )

    def check_blocks(self, firsts, ends):
        for block in (
            b for first, end in zip(firsts, ends, strict=True) for b in range(first, end)
        ):
            name = max((n for n in IN_FILE if self.starts[n] <= block), key=self.starts.get)
            part = slice(
                BLOCK * (block - self.starts[name]), BLOCK * (block + 1 - self.starts[name])
            )
            bytes_of(self.held[name])[part] = bytes_of(self.true[name])[part]
            self.unchecked[block] = False

    def touch(self, name, starts, ends):
        seen, true = getattr(self, name), self.true[name]
        for start, end in zip(starts, ends, strict=True):
            seen[start:end] = true[start:end]


def bytes_of(array):
    return array.reshape(-1).view(np.uint8)


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
    if operator == "$icontains":
        return isinstance(value, str) and operand.lower() in value.lower()
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
