"""Finding document ids in a segment: a Bloom filter, sorted hashes, and the ids themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptIndexError, InvalidDocumentError

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

BLOOM_BITS_PER_ID: Final = 10
BLOOM_PROBES: Final = 7
"""With 10 bits per id, 7 probes let fewer than 1 % of unknown ids pass."""


PROBED_IDS: Final = 1 << 12
"""Ids whose bits are looked up at a time: few calls for small queries, the cache for large ones."""

_PROBES: Final = np.arange(BLOOM_PROBES, dtype=np.uint64)[:, None]
_3, _7 = np.uint64(3), np.uint64(7)


class IdQuery:
    """Ids to be looked up, hashed once for any number of segments.

    Raises:
        InvalidDocumentError: an id cannot be written as UTF-8.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = list(ids)
        self.encoded = [encode_id(id) for id in self.ids]
        self.hashes = hash_ids(self.encoded)

    def __len__(self) -> int:
        return len(self.ids)


def encode_id(id: str) -> bytes:
    """A document id as UTF-8, or `InvalidDocumentError` for a lone surrogate."""
    try:
        return id.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidDocumentError(
            f"Document id {id!r} holds a lone surrogate: decode it again."
        ) from error


def hash_ids(encoded: Sequence[bytes]) -> U64:
    """uint64 [n]: the first 8 bytes of BLAKE2b of each id, little-endian."""
    digests = b"".join(hashlib.blake2b(id, digest_size=8).digest() for id in encoded)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def id_tensors(ids: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The tensors of a segment's ids, in the order of docnos.

    Returns:
        `id_bytes` uint8 (the ids one after the other), `id_offsets` int64 [n + 1], `id_hashes`
        uint64 [n] sorted, `id_docnos` uint32 [n] in the order of the hashes, `id_bloom` uint8.
    """
    query = IdQuery(ids)
    offsets = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum([len(id) for id in query.encoded], out=offsets[1:])
    order = np.argsort(query.hashes, kind="stable")
    return {
        "id_offsets": offsets,
        "id_hashes": query.hashes[order],
        "id_docnos": order.astype(np.uint32),
        "id_bytes": np.frombuffer(b"".join(query.encoded), dtype=np.uint8),
        "id_bloom": _make_bloom(query.hashes),
    }


def _make_bloom(hashes: U64) -> NDArray[np.uint8]:
    n_bits = max(64, -(-len(hashes) * BLOOM_BITS_PER_ID // 8) * 8)
    bits = np.zeros(n_bits, dtype=np.bool_)
    for start in range(0, len(hashes), PROBED_IDS):
        bits[_bloom_positions(hashes[start : start + PROBED_IDS], n_bits)] = True
    return np.packbits(bits, bitorder="little")


def _bloom_positions(hashes: U64, n_bits: int) -> NDArray[np.uint64]:
    """[probes, n]: double hashing with the halves of the id's hash (Kirsch, Mitzenmacher 2006)."""
    low, high = hashes & np.uint64(0xFFFFFFFF), (hashes >> np.uint64(32)) | np.uint64(1)
    probes: NDArray[np.uint64] = (low + _PROBES * high) % np.uint64(n_bits)
    return probes


class IdTable:
    """The ids of one segment, over its tensors; safe to share by threads.

    Args:
        tensors: as `id_tensors` makes them; their blocks are checked already.
        name: for messages.

    Attributes:
        hashes: uint64 [n], sorted.
        docnos: uint32 [n], in the order of the hashes.

    Raises:
        CorruptIndexError: the tensors do not fit together.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], name: str) -> None:
        self._name = name
        self._bytes = tensors["id_bytes"]
        self._offsets = tensors["id_offsets"]
        self.hashes: U64 = tensors["id_hashes"]
        self.docnos: U32 = tensors["id_docnos"]
        self._bloom = tensors["id_bloom"]
        problem = self._find_problem()
        if problem:
            raise CorruptIndexError(f"{name}: {problem}.")

    def __len__(self) -> int:
        return len(self.hashes)

    def _find_problem(self) -> str | None:
        offsets, n = self._offsets, len(self.hashes)
        if len(offsets) != n + 1 or len(self.docnos) != n or not len(self._bloom):
            return "the tensors of the ids have different lengths"
        # Not by np.diff: differences of 64-bit numbers may wrap around.
        descends = (offsets[1:] < offsets[:-1]).any()
        if offsets[0] != 0 or offsets[-1] != len(self._bytes) or descends:
            return "id_offsets are not monotone"
        if (self.hashes[1:] < self.hashes[:-1]).any():
            return "id_hashes are not sorted"
        if n and self.docnos.max() >= n:
            return "id_docnos name a document that is not there"
        return None

    def encoded(self, docno: int) -> bytes:
        """The id of a document as UTF-8."""
        start, end = self._offsets[docno : docno + 2]
        return bytes(self._bytes[start:end])

    def id(self, docno: int) -> str:
        """The id of a document.

        Raises:
            CorruptIndexError: it is not UTF-8.
        """
        try:
            return self.encoded(docno).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorruptIndexError(
                f"{self._name}: the id of document {docno} is not UTF-8: restore the index from a "
                "copy."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return (self.id(docno) for docno in range(len(self)))

    def find(self, query: IdQuery) -> dict[str, int]:
        """Which of the ids are here, dead or alive: id -> docno."""
        found: dict[str, int] = {}
        possible = np.flatnonzero(self.may_hold(query.hashes))
        hashes = query.hashes[possible]
        firsts = np.searchsorted(self.hashes, hashes, side="left")
        lasts = np.searchsorted(self.hashes, hashes, side="right")
        for number, first, last in zip(possible, firsts, lasts, strict=True):
            for docno in self.docnos[first:last].tolist():
                if self.encoded(docno) == query.encoded[number]:
                    found[query.ids[number]] = docno
        return found

    def may_hold(self, hashes: U64) -> NDArray[np.bool_]:
        """What the Bloom filter says of ids: False for those that are certainly not here."""
        n_bits = len(self._bloom) * 8
        parts = [
            self._all_set(_bloom_positions(hashes[start : start + PROBED_IDS], n_bits))
            for start in range(0, len(hashes), PROBED_IDS)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.bool_)

    def _all_set(self, positions: NDArray[np.uint64]) -> NDArray[np.bool_]:
        bits = self._bloom[positions >> _3] >> (positions & _7).astype(np.uint8)
        passed: NDArray[np.bool_] = (bits & 1).all(axis=0)
        return passed
