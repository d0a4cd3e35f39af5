"""Flips, truncations and extensions of every file of an index, each checked and searched.

Run as a program, so that a signal shows as its exit code: `flips.py FOLDER STEP N_RANDOM`. Every
STEP-th byte of the small files is turned, and N_RANDOM bytes of the large ones; counts are printed
as JSON.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from check_samples import build, build_large
from forgery import read_manifest
from safetensors.numpy import load_file

import weft
from weft.engine.storage.checking.blocks import bad_ranges
from weft.engine.storage.directory import LocalDirectory

BLOCK = 65536
LARGE = ("arrays.safetensors", "passages.sqlite")
PARTS = ("segments", "codecs", "tombstones")
CHECK_EVERY = 200
"""Flips of large files from one check of the whole index to the next."""

Search = Callable[[], list]


class Campaign:
    """Damages the files of one index, one place at a time, and puts each back.

    Args:
        root: of the index.
        counts: what has been done and found; "undetected" and "wrong" must stay 0.
        random: picks positions and bits.
    """

    def __init__(self, root: Path, counts: Counter, random: np.random.Generator) -> None:
        self.root = root
        self._counts = counts
        self._random = random
        self._query = random.standard_normal((4, weft_dim(root))).astype(np.float32)
        self._expected = self._search()

    def _search(self) -> list:
        """Hits with text and span, so that every kind of file takes part."""
        with weft.Index.open(self.root) as index:
            hits = index.search(self._query, k=10)
            return [(h.id, h.score, h.text, h.passage, h.metadata) for h in hits]

    def _files(self) -> list[Path]:
        """All manifests, and what the newest one names."""
        manifest = read_manifest(self.root)
        ids = {ref["id"] for kind in PARTS for ref in manifest[kind]}
        files = [path for path in sorted(self.root.rglob("*")) if path.is_file()]
        return [p for p in files if p.parent == self.root or {p.parent.name, p.stem} & ids]

    def small(self, step: int) -> None:
        """Every `step`-th byte and length of each file that is checked as a whole."""
        for path in self._files():
            if path.name not in LARGE:
                data = path.read_bytes()
                start = int(self._random.integers(step))
                for position in range(start, len(data), step):
                    self._flip(path, position, self._check)
                for length in range(start, len(data), step):
                    self._replace(path, data, data[:length])
                self._replace(path, data, data + b"\0")

    def _replace(self, path: Path, data: bytes, other: bytes) -> None:
        path.write_bytes(other)
        try:
            self._look("lengths", self._check)
        finally:
            path.write_bytes(data)

    def large(self, n_random: int) -> None:
        """Random bytes of the large files, and every block at which they could end."""
        paths = [path for path in self._files() if path.name in LARGE]
        ends = np.cumsum([path.stat().st_size for path in paths])
        for number, at in enumerate(self._random.integers(0, ends[-1], n_random)):
            file = int(np.searchsorted(ends, at, side="right"))
            position = int(at - (ends[file] - paths[file].stat().st_size))
            whole = number % CHECK_EVERY == 0
            look = self._check if whole else self._block_check(paths[file])
            self._flip(paths[file], position, look)
        for path in paths:
            data = path.read_bytes()
            for length in range(0, len(data), BLOCK):
                self._replace(path, data, data[:length])
            self._replace(path, data, data + b"\0")

    def _flip(self, path: Path, position: int, detects: Callable[[], bool]) -> None:
        with turned(path, position, 1 << int(self._random.integers(8))):
            self._look("flips", detects)

    def _look(self, kind: str, detects: Callable[[], bool]) -> None:
        self._counts[kind] += 1
        self._counts["detected" if detects() else "undetected"] += 1
        try:
            found = self._search()
        except weft.errors.CorruptIndexError:
            self._counts["refused"] += 1
        else:
            self._counts["equal" if found == self._expected else "wrong"] += 1

    def _check(self) -> bool:
        """The public check."""
        try:
            return not weft.check(self.root).ok
        except weft.errors.CorruptIndexError:
            return True

    def _block_check(self, path: Path) -> Callable[[], bool]:
        """What the check does with the bytes of one file."""
        directory, name = LocalDirectory(self.root), str(path.relative_to(self.root))
        table = load_file(path.parent / "checksums.safetensors")[path.name]
        size_bytes = path.stat().st_size
        return lambda: bool(bad_ranges(directory, name, size_bytes, table))


@contextmanager
def turned(path: Path, position: int, mask: int) -> Iterator[None]:
    """One byte of a file changed in place."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        before = os.pread(descriptor, 1, position)
        os.pwrite(descriptor, bytes([before[0] ^ mask]), position)
        yield
        os.pwrite(descriptor, before, position)
    finally:
        os.close(descriptor)


def weft_dim(root: Path) -> int:
    with weft.Index.open(root) as index:
        return index.stats().dim


def build_coded(path: Path) -> Path:
    """As `build_large`, compressed."""
    build_large(path, 500, 60, flat_below_tokens=10_000)
    with weft.Index.open(path) as index:
        index.compact()
    return path


def main(folder: Path, step: int, n_random: int) -> None:
    counts: Counter = Counter(undetected=0, wrong=0)
    random = np.random.default_rng(0)
    small = build(folder / "small", n_documents=3, n_replaced=1, n_flat=1)
    Campaign(small, counts, random).small(step)
    for number, make in enumerate((lambda path: build_large(path, 600, 60), build_coded)):
        index = make(folder / f"large{number}")
        Campaign(index, counts, random).large(n_random // 2)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
