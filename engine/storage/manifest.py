"""One generation of an index: what stands in `manifest.<generation>.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from .. import limits
from ..errors import CorruptIndexError, InvalidParameterError, UnsupportedFormatError
from .checksums import checksum
from .fields import Fields
from .layout import IDENTIFIER

FORMAT_VERSION: Final = 1
"""The format that is written, and the newest that is read."""

KNOWN_FEATURES: Final[frozenset[str]] = frozenset()
"""Features that a manifest may require of its reader."""

MAX_MANIFEST_BYTES: Final = 64 * 2**20
"""Longest manifest that is read."""

MAX_SEGMENT_PASSAGES: Final = 2_000_000
"""Passages that compaction puts into one segment by default."""

FLAT: Final = "flat"
CODED: Final = "coded"

_TRAILER: Final = re.compile(rb',"crc32c":"([0-9a-f]{8})"\}\n')
_TRAILER_BYTES: Final = len(b',"crc32c":"00000000"}\n')


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
class CodecRef:
    """The live codec.

    Args:
        id: its folder.
        hash: over its content.
        n_centroids: K.
        bits: of residuals, per dimension.
        mean_cosine, mean_squared_error: what compression lost on embeddings held out when it
            was trained.
        file: its file.
    """

    id: str
    hash: str
    n_centroids: int
    bits: int
    mean_cosine: float
    mean_squared_error: float
    file: FileRef


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
        n_centroids: K of that codec when the segment was made, else 0.
        arrays_bytes, passages_bytes: lengths of its files.
        checksums: of its table of checksums.
    """

    id: str
    kind: str
    n_documents: int
    n_passages: int
    n_tokens: int
    sequence: int
    codec: str | None
    n_centroids: int
    arrays_bytes: int
    passages_bytes: int
    checksums: FileRef


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
        codec: the live codec, None while all segments are flat.
        segments: in the order in which they were added.
        tombstones: which rows of them are dead.
        next_sequence: of the next change.
        applied_floor: every change up to this sequence has been applied.
        required_features: what a reader must know to read this index.
        format_version: of all its files.
    """

    generation: int
    commit_uuid: str
    index_uuid: str
    dim: int
    encoder: Mapping[str, Any] | None
    settings: IndexSettings
    codec: CodecRef | None = None
    segments: tuple[SegmentRef, ...] = ()
    tombstones: tuple[TombstoneRef, ...] = ()
    next_sequence: int = 1
    applied_floor: int = 0
    required_features: tuple[str, ...] = field(default=())
    format_version: int = FORMAT_VERSION

    def encode(self) -> bytes:
        """The bytes of the manifest's file."""
        return encode_payload(asdict(self))


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """A JSON object followed by its checksum as its last field, in the form of a manifest."""
    body = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    covered = body.encode("ascii")[:-1]
    return covered + b',"crc32c":"%08x"}\n' % checksum(covered)


def decode_manifest(data: bytes, name: str) -> Manifest:
    """Parse a manifest, trusting nothing in it.

    Args:
        data: the content of the file.
        name: of the file, for messages.

    Raises:
        CorruptIndexError: a byte is not what was written, or a field is unusable.
        UnsupportedFormatError: a newer format, or an unknown required feature.
    """
    fields = Fields(_payload(data, name), name)
    _require_known_format(fields, name)
    try:
        return _manifest(fields)
    except InvalidParameterError as error:
        raise CorruptIndexError(f"{name}: settings: {error}") from error


def _payload(data: bytes, name: str) -> Any:
    covered = data[:-_TRAILER_BYTES]
    trailer = _TRAILER.fullmatch(data[-_TRAILER_BYTES:])
    if trailer is None or int(trailer[1], 16) != checksum(covered):
        raise CorruptIndexError(
            f"{name} is not what was written ({len(data)} bytes): restore the index from a copy."
        )
    try:
        return json.loads(covered + b"}")
    except (ValueError, RecursionError) as error:
        raise CorruptIndexError(f"{name} is not JSON: {error}") from error


def _require_known_format(fields: Fields, name: str) -> None:
    version = fields.integer("format_version", 1)
    if version > FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"{name} has format version {version}; this Weft reads up to {FORMAT_VERSION}. "
            "Install a newer Weft."
        )
    unknown = sorted(set(fields.texts("required_features")) - KNOWN_FEATURES)
    if unknown:
        raise UnsupportedFormatError(
            f"{name} requires the feature {unknown[0]!r}, which this Weft lacks. Install a newer "
            "Weft."
        )


def _manifest(fields: Fields) -> Manifest:
    return Manifest(
        generation=fields.integer("generation", 1),
        commit_uuid=fields.text("commit_uuid", IDENTIFIER),
        index_uuid=fields.text("index_uuid", IDENTIFIER),
        dim=fields.integer("dim", 1, limits.MAX_DIM),
        encoder=None if fields.is_null("encoder") else fields.mapping("encoder"),
        settings=_settings(fields.fields("settings")),
        codec=None if fields.is_null("codec") else _codec(fields.fields("codec")),
        segments=fields.each("segments", _segment),
        tombstones=fields.each("tombstones", _tombstones),
        next_sequence=fields.integer("next_sequence", 1),
        applied_floor=fields.integer("applied_floor"),
        required_features=fields.texts("required_features"),
        format_version=fields.integer("format_version", 1),
    )


def _settings(fields: Fields) -> IndexSettings:
    return IndexSettings(
        bits=fields.integer("bits", 1, 8),
        flat_below_tokens=fields.integer("flat_below_tokens"),
        max_segment_passages=fields.integer("max_segment_passages", 1),
    )


def _codec(fields: Fields) -> CodecRef:
    return CodecRef(
        id=fields.text("id", IDENTIFIER),
        hash=fields.text("hash", IDENTIFIER),
        n_centroids=fields.integer("n_centroids", 1, 2**32 - 1),
        bits=fields.choice("bits", (1, 2, 4, 8)),
        mean_cosine=fields.number("mean_cosine"),
        mean_squared_error=fields.number("mean_squared_error"),
        file=_file(fields.fields("file")),
    )


def _segment(fields: Fields) -> SegmentRef:
    kind = fields.choice("kind", (FLAT, CODED))
    return SegmentRef(
        id=fields.text("id", IDENTIFIER),
        kind=kind,
        n_documents=fields.integer("n_documents", 1, 2**31),
        n_passages=fields.integer("n_passages", 1, 2**31),
        n_tokens=fields.integer("n_tokens", 1),
        sequence=fields.integer("sequence"),
        codec=fields.text("codec", IDENTIFIER) if kind == CODED else None,
        n_centroids=fields.integer("n_centroids", int(kind == CODED), 2**32 - 1),
        arrays_bytes=fields.integer("arrays_bytes"),
        passages_bytes=fields.integer("passages_bytes"),
        checksums=_file(fields.fields("checksums")),
    )


def _tombstones(fields: Fields) -> TombstoneRef:
    return TombstoneRef(
        id=fields.text("id", IDENTIFIER),
        n_ids=fields.integer("n_ids"),
        n_rows=fields.integer("n_rows"),
        file=_file(fields.fields("file")),
    )


def _file(fields: Fields) -> FileRef:
    return FileRef(
        size_bytes=fields.integer("size_bytes"), crc32c=fields.integer("crc32c", 0, 2**32 - 1)
    )
