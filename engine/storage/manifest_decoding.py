"""Reading a manifest that somebody else may have written."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, Final

from .. import limits
from ..errors import CorruptIndexError, InvalidParameterError, UnsupportedFormatError
from .checksums import checksum
from .fields import Fields
from .layout import IDENTIFIER
from .manifest import (
    CODED,
    FLAT,
    FORMAT_VERSION,
    KNOWN_FEATURES,
    MAX_APPLIED_RANGES,
    MAX_EPOCHS,
    MAX_PREFIXES,
    CodecPrefix,
    CodecRef,
    FileRef,
    IndexSettings,
    Manifest,
    SegmentRef,
    TombstoneRef,
)

_TRAILER: Final = re.compile(rb',"crc32c":"([0-9a-f]{8})"\}\n')
_TRAILER_BYTES: Final = len(b',"crc32c":"00000000"}\n')


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


def is_as_written(data: bytes) -> bool:
    """Whether a manifest is covered by its own checksum."""
    trailer = _TRAILER.fullmatch(data[-_TRAILER_BYTES:])
    return trailer is not None and int(trailer[1], 16) == checksum(data[:-_TRAILER_BYTES])


def _payload(data: bytes, name: str) -> Any:
    if not is_as_written(data):
        raise CorruptIndexError(
            f"{name} is not what was written ({len(data)} bytes): restore the index from a copy."
        )
    try:
        return json.loads(data[:-_TRAILER_BYTES] + b"}")
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
    codecs = fields.each("codecs", _codec)
    _require_epochs(codecs, fields)
    manifest = Manifest(
        generation=fields.integer("generation", 1),
        commit_uuid=fields.text("commit_uuid", IDENTIFIER),
        index_uuid=fields.text("index_uuid", IDENTIFIER),
        dim=fields.integer("dim", 1, limits.MAX_DIM),
        encoder=None if fields.is_null("encoder") else fields.mapping("encoder"),
        settings=_settings(fields.fields("settings")),
        codecs=codecs,
        segments=fields.each("segments", _segment),
        tombstones=fields.each("tombstones", _tombstones),
        next_sequence=fields.integer("next_sequence", 1),
        applied_floor=fields.integer("applied_floor"),
        applied_above=fields.pairs("applied_above", MAX_APPLIED_RANGES),
        required_features=fields.texts("required_features"),
        format_version=fields.integer("format_version", 1),
    )
    _require_order(manifest, fields)
    _require_readable(manifest, fields)
    return manifest


def _require_epochs(codecs: tuple[CodecRef, ...], fields: Fields) -> None:
    epochs = [codec.epoch for codec in codecs]
    ids = [codec.id for codec in codecs]
    ids += [prefix.id for codec in codecs for prefix in codec.prefixes]
    if len(codecs) > MAX_EPOCHS or epochs != sorted(set(epochs)) or len(set(ids)) < len(ids):
        raise fields.failure("codecs", f"at most {MAX_EPOCHS} codecs of ascending epochs")


def _require_order(manifest: Manifest, fields: Fields) -> None:
    """Ranges of applied sequences lie apart, above the floor and below the next sequence."""
    below = manifest.applied_floor + 1
    for first, last in manifest.applied_above:
        if not below < first <= last:
            raise fields.failure("applied_above", "ascending ranges above the floor")
        below = last + 1
    if manifest.next_sequence < below:
        raise fields.failure("next_sequence", "above every applied sequence")


def _require_readable(manifest: Manifest, fields: Fields) -> None:
    """Segments have distinct ids, and coded ones a codec."""
    if len({segment.id for segment in manifest.segments}) < len(manifest.segments):
        raise fields.failure("segments", "segments of distinct ids")
    for segment in manifest.segments:
        if segment.kind == CODED and manifest.codec_of(segment) is None:
            raise fields.failure("segments", f"readable: segment {segment.id} lacks its codec")


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
        epoch=fields.integer("epoch", 1),
        n_centroids=fields.integer("n_centroids", 1, 2**32 - 1),
        bits=fields.choice("bits", (1, 2, 4, 8)),
        n_embeddings=fields.integer("n_embeddings", 1),
        centroid_cosine=fields.number("centroid_cosine"),
        mean_cosine=fields.number("mean_cosine"),
        mean_squared_error=fields.number("mean_squared_error"),
        prefixes=_prefixes(fields),
        file=_file(fields.fields("file")),
        far_cosine=fields.number_if_any("far_cosine"),
        far_share=fields.number_if_any("far_share"),
        skew=fields.number_if_any("skew"),
    )


def _prefixes(fields: Fields) -> tuple[CodecPrefix, ...]:
    prefixes = fields.each("prefixes", _prefix)
    lengths = [prefix.n_centroids for prefix in prefixes]
    lengths.append(fields.integer("n_centroids", 1, 2**32 - 1))
    if len(prefixes) > MAX_PREFIXES or any(a >= b for a, b in pairwise(lengths)):
        raise fields.failure("prefixes", f"at most {MAX_PREFIXES} ever longer codecs")
    return prefixes


def _prefix(fields: Fields) -> CodecPrefix:
    return CodecPrefix(
        id=fields.text("id", IDENTIFIER),
        hash=fields.text("hash", IDENTIFIER),
        n_centroids=fields.integer("n_centroids", 1, 2**32 - 1),
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
        centroid_cosine=fields.number("centroid_cosine") if kind == CODED else None,
        arrays_bytes=fields.integer("arrays_bytes"),
        passages_bytes=fields.integer("passages_bytes"),
        checksums=_file(fields.fields("checksums")),
        far_share=fields.number_if_any("far_share"),
        skew=fields.number_if_any("skew"),
        unserved_by=fields.text_if_any("unserved_by", IDENTIFIER) if kind == FLAT else None,
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
