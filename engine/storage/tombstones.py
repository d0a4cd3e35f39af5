"""Tombstones: which documents were deleted, and which rows of which segments are dead.

A tombstone file is written once, by the commit that deletes. It holds the document ids with the
sequence of their deletion, for changes that arrive late, and the rows that the ids resolved to,
so that opening an index needs no look-up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptIndexError
from .directory import Directory
from .files import read_tensors, write_tensors
from .layout import TOMBSTONES, new_identifier, tombstone_file
from .manifest import TombstoneRef

U32 = NDArray[np.uint32]

MAX_FILES: Final = 8
"""Tombstone files of one generation; beyond it the newest are merged."""


@dataclass(frozen=True, eq=False)
class Tombstones:
    """The content of one tombstone file.

    Args:
        ids: deleted document ids -> the sequence of the deletion.
        rows: segment id -> uint32, the docnos that are dead in it, sorted.
    """

    ids: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, U32] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Dead documents."""
        return sum(len(docnos) for docnos in self.rows.values())

    def __bool__(self) -> bool:
        return bool(self.ids) or self.n_rows > 0

    def write(self, directory: Directory) -> TombstoneRef:
        """Write a new tombstone file, durable with its name."""
        tombstone_id = new_identifier()
        file = write_tensors(directory, tombstone_file(tombstone_id), self._tensors())
        directory.sync_folder(TOMBSTONES)
        return TombstoneRef(tombstone_id, len(self.ids), self.n_rows, file)

    def _tensors(self) -> dict[str, NDArray[Any]]:
        encoded = [id.encode("utf-8") for id in self.ids]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(id) for id in encoded], out=offsets[1:])
        names = b"".join(bytes.fromhex(segment) for segment in self.rows)
        docnos = list(self.rows.values())
        return {
            "id_offsets": offsets,
            "id_sequences": np.array(list(self.ids.values()), dtype=np.uint64),
            "row_counts": np.array([len(part) for part in docnos], dtype=np.uint32),
            "row_docnos": np.concatenate([np.empty(0, dtype=np.uint32), *docnos]),
            "row_segments": np.frombuffer(names, dtype=np.uint8).reshape(-1, 16),
            "id_bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        }


def read_tombstones(directory: Directory, ref: TombstoneRef) -> Tombstones:
    """Read a tombstone file.

    Raises:
        CorruptIndexError: it is missing, damaged, or its parts do not fit together.
    """
    name = tombstone_file(ref.id)
    tensors = read_tensors(directory, name, ref.file)
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "id_offsets": (np.int64, (ref.n_ids + 1,)),
        "id_sequences": (np.uint64, (ref.n_ids,)),
        "row_counts": (np.uint32, (-1,)),
        "row_docnos": (np.uint32, (ref.n_rows,)),
        "row_segments": (np.uint8, (-1, 16)),
        "id_bytes": (np.uint8, (-1,)),
    }
    for key, (dtype, shape) in expected.items():
        found = tensors.get(key)
        if found is None or found.dtype != dtype or not _fits(found.shape, shape):
            raise CorruptIndexError(f"{name}: tensor {key!r} is missing or does not fit.")
    try:
        return Tombstones(_ids(tensors), _rows(tensors))
    except ValueError as error:
        raise CorruptIndexError(f"{name}: {error}.") from error


def _fits(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(found) == len(shape) and all(b in (-1, a) for a, b in zip(found, shape, strict=True))


def _ids(tensors: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    offsets, data = tensors["id_offsets"], tensors["id_bytes"].tobytes()
    if offsets[0] != 0 or offsets[-1] != len(data) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError("id_offsets are not monotone")
    bounds = offsets.tolist()
    ids = [data[a:b].decode("utf-8") for a, b in pairwise(bounds)]
    return dict(zip(ids, tensors["id_sequences"].tolist(), strict=True))


def _rows(tensors: Mapping[str, NDArray[Any]]) -> dict[str, U32]:
    counts, docnos = tensors["row_counts"], tensors["row_docnos"]
    segments = [bytes(row).hex() for row in tensors["row_segments"]]
    ends = np.cumsum(counts, dtype=np.int64)
    if len(segments) != len(counts) or int(counts.sum(dtype=np.int64)) != len(docnos):
        raise ValueError("row_counts do not sum to the rows")
    parts = np.split(docnos, ends[:-1]) if len(counts) else []
    return dict(zip(segments, parts, strict=True))


def merge_tombstones(
    parts: Sequence[Tombstones], *, segments: Collection[str], applied_floor: int
) -> Tombstones:
    """Put several into one, without what nothing can need any more.

    Args:
        parts: of each id the deletion with the highest sequence counts.
        segments: ids of the segments that are left; rows of others are dropped.
        applied_floor: ids whose deletion is not above it are dropped, since every change that
            could still arrive is younger.
    """
    ids: dict[str, int] = {}
    for part in parts:
        for id, sequence in part.ids.items():
            if sequence > max(applied_floor, ids.get(id, 0)):
                ids[id] = sequence
    gathered: dict[str, list[U32]] = {}
    for part in parts:
        for segment, docnos in part.rows.items():
            if segment in segments:
                gathered.setdefault(segment, []).append(docnos)
    return Tombstones(ids, {key: np.unique(np.concatenate(v)) for key, v in gathered.items()})


def mergeable_tail(counts: Sequence[int], new_entries: int) -> int:
    """How many of the newest files a commit merges with its own tombstones.

    None while there are few; then those that are not much longer than what they are merged with,
    so that each entry is written again only a logarithmic number of times.

    Args:
        counts: rows and ids of the present files, oldest first.
        new_entries: rows and ids of the commit.
    """
    if len(counts) < MAX_FILES:
        return 0
    merged, tail = new_entries, 0
    while tail < len(counts) and (
        len(counts) - tail >= MAX_FILES or counts[-1 - tail] <= 2 * merged
    ):
        tail += 1
        merged += counts[-tail]
    return tail


def alive_documents(n_documents: int, dead: Sequence[U32], where: str) -> NDArray[np.bool_]:
    """bool [n_documents]: False for the docnos of a segment that tombstones name.

    Raises:
        CorruptIndexError: a docno that is not in the segment.
    """
    alive = np.ones(n_documents, dtype=np.bool_)
    for docnos in dead:
        if len(docnos) and int(docnos.max()) >= n_documents:
            raise CorruptIndexError(f"{where}: a tombstone names document {int(docnos.max())}.")
        alive[docnos] = False
    return alive
