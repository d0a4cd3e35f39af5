"""One generation of an index: what stands in `manifest.<generation>.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .. import limits
from ..errors import InvalidParameterError
from .checksums import checksum

FORMAT_VERSION: Final = 1
"""The format that is written, and the newest that is read."""

KNOWN_FEATURES: Final[frozenset[str]] = frozenset()
"""Features that a manifest may require of its reader."""

MAX_MANIFEST_BYTES: Final = 16 * 2**20
"""Longest manifest that is written and read: more than 30,000 segments."""

MAX_SEGMENT_PASSAGES: Final = 2_000_000
"""Passages that compaction puts into one segment by default."""

MAX_EPOCHS: Final = 2
"""Codecs of one generation: the live one, and the one it is taking over from."""

MAX_PREFIXES: Final = 64
"""Times that centroids are appended within one epoch."""

MAX_APPLIED_RANGES: Final = 4096
"""Ranges of sequences applied above the floor."""

FLAT: Final = "flat"
CODED: Final = "coded"


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What was chosen when the index was made.

    Args:
        bits: residual bits per dimension of its codec: 1, 2, 4 or 8.
        flat_below_tokens: size below which no codec is trained.
        max_segment_passages: passages that compaction puts into one segment.

    Raises:
        InvalidParameterError: a setting outside its range.
    """

    bits: int = limits.DEFAULT_BITS
    flat_below_tokens: int = limits.FLAT_BELOW_TOKENS
    max_segment_passages: int = MAX_SEGMENT_PASSAGES

    def __post_init__(self) -> None:
        if type(self.bits) is not int or self.bits not in (1, 2, 4, 8):
            raise InvalidParameterError(f"bits is {self.bits!r}: use 1, 2, 4 or 8.")
        for name, low, high in (
            ("flat_below_tokens", 0, 10**12),
            ("max_segment_passages", 1, 2**31),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidParameterError(
                    f"{name} is {value!r}: use a whole number from {low} to {high}."
                )


@dataclass(frozen=True, slots=True)
class FileRef:
    """Length and CRC32C of a whole file."""

    size_bytes: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class CodecPrefix:
    """An earlier codec of the same epoch, whose centroids are the first of a later one."""

    id: str
    hash: str
    n_centroids: int


@dataclass(frozen=True, slots=True)
class CodecRef:
    """A codec: the live one, or that of the epoch before.

    Args:
        id: its folder.
        hash: over its content.
        epoch: counts trainings, from 1; appended centroids stay within one.
        n_centroids: K.
        bits: of residuals, per dimension.
        n_embeddings: of the collection when its epoch was trained.
        centroid_cosine: mean cosine between embeddings held out in training and their
            centroids: what drift is measured against.
        mean_cosine, mean_squared_error: what compression lost on those embeddings.
        prefixes: the codecs it was appended to, shortest first; segments made with one of them
            are read with this one.
        file: its file.
        far_cosine: percentile `FAR_PERCENTILE` of the held-out embeddings' cosines to their
            centroids: an embedding below it is far. None, like the next two, if the codec was
            written before this was recorded.
        far_share: share of embeddings that are far where nothing has drifted; what drift is
            measured against.
        skew: how unevenly the held-out embeddings filled the centroids, see `codec.service`.
    """

    id: str
    hash: str
    epoch: int
    n_centroids: int
    bits: int
    n_embeddings: int
    centroid_cosine: float
    mean_cosine: float
    mean_squared_error: float
    prefixes: tuple[CodecPrefix, ...]
    file: FileRef
    far_cosine: float | None = None
    far_share: float | None = None
    skew: float | None = None

    def reads(self, codec_id: str | None, n_centroids: int) -> bool:
        """Whether segments made with that codec, of so many centroids, are read with this one."""
        known = {self.id: self.n_centroids} | {p.id: p.n_centroids for p in self.prefixes}
        return codec_id is not None and known.get(codec_id) == n_centroids


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """One segment.

    Args:
        id: its folder.
        kind: "flat" or "coded".
        n_documents, n_passages, n_tokens: dead ones included.
        sequence: of the change that added its documents; those of a compacted segment have
            their own inside it, and this is the highest.
        codec: id of the codec of a coded segment, else None.
        n_centroids: K of that codec, else 0.
        centroid_cosine: mean cosine between its embeddings and their centroids; None if flat.
        arrays_bytes, passages_bytes: lengths of its files.
        checksums: of its table of checksums.
        far_share: share of its embeddings that lie below the `far_cosine` of its epoch; None if
            flat, or if that is not known of all.
        skew: how unevenly its embeddings fill the centroids, see `codec.service`; None if flat, of
            one embedding, or written before this was recorded.
        unserved_by: of a flat segment that is held: the codec that serves it so badly that it
            waits for one with more centroids.
    """

    id: str
    kind: str
    n_documents: int
    n_passages: int
    n_tokens: int
    sequence: int
    codec: str | None
    n_centroids: int
    centroid_cosine: float | None
    arrays_bytes: int
    passages_bytes: int
    checksums: FileRef
    far_share: float | None = None
    skew: float | None = None
    unserved_by: str | None = None


@dataclass(frozen=True, slots=True)
class TombstoneRef:
    """One tombstone file with the number of document ids and of rows in it."""

    id: str
    n_ids: int
    n_rows: int
    file: FileRef


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation: everything that a reader needs to find, in order.

    Args:
        generation: 1 when the index is made, one more by each commit.
        commit_uuid: of the commit that made it; tells a writer its own from another's.
        index_uuid: of the index, the same in all generations.
        dim: components per embedding.
        encoder: identity of the encoder, None for an index of ready-made embeddings.
        settings: chosen when the index was made.
        codecs: none while all segments are flat; the live codec is the last, before it stands
            that of the epoch before until its segments have been converted.
        segments: in the order in which they were added.
        tombstones: which rows of them are dead.
        next_sequence: of the next change.
        applied_floor: every change up to this sequence has been applied.
        applied_above: ranges `(first, last)` of sequences above the floor that have been applied
            already; ascending, with gaps before and between them.
        required_features: what a reader must know to read this index.
        format_version: of all its files.
    """

    generation: int
    commit_uuid: str
    index_uuid: str
    dim: int
    encoder: Mapping[str, Any] | None
    settings: IndexSettings
    codecs: tuple[CodecRef, ...] = ()
    segments: tuple[SegmentRef, ...] = ()
    tombstones: tuple[TombstoneRef, ...] = ()
    next_sequence: int = 1
    applied_floor: int = 0
    applied_above: tuple[tuple[int, int], ...] = ()
    required_features: tuple[str, ...] = field(default=())
    format_version: int = FORMAT_VERSION

    @property
    def codec(self) -> CodecRef | None:
        """The live codec, which new segments are made with; None while all are flat."""
        return self.codecs[-1] if self.codecs else None

    def codec_of(self, segment: SegmentRef) -> CodecRef | None:
        """The codec that a coded segment is read with; None if the generation has none for it."""
        for codec in self.codecs:
            if codec.reads(segment.codec, segment.n_centroids):
                return codec
        return None

    def encode(self) -> bytes:
        """The bytes of the manifest's file."""
        return encode_payload(_fields(self))


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """A JSON object followed by its checksum as its last field, in the form of a manifest.

    Args:
        payload: whatever JSON can hold, and the dataclasses of this module.
    """
    # They are turned one by one: `asdict` would copy every value, for a fifth of a small commit.
    body = json.dumps(
        payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=_fields
    )
    covered = body.encode("ascii")[:-1]
    return covered + b',"crc32c":"%08x"}\n' % checksum(covered)


def _fields(record: Any) -> dict[str, Any]:
    """The fields of a dataclass in their order."""
    names = getattr(record, "__dataclass_fields__", None)
    if names is None:
        raise TypeError(f"a {type(record).__name__} cannot stand in a manifest")
    return {name: getattr(record, name) for name in names}
