"""Manifests: what is written is read, and nothing else is."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.engine.errors import CorruptIndexError, InvalidParameterError, UnsupportedFormatError
from weft.engine.storage.manifest import (
    MAX_MANIFEST_BYTES,
    CodecPrefix,
    CodecRef,
    FileRef,
    IndexSettings,
    Manifest,
    SegmentRef,
    TombstoneRef,
    encode_payload,
)
from weft.engine.storage.manifest_decoding import decode_manifest

ID = "0123456789abcdef0123456789abcdef"
OTHER, OLD, THIRD = ID[::-1], "a" * 32, "b" * 32
FILE = FileRef(100, 2**32 - 1)
LIVE = CodecRef(
    ID, ID, 2, 1024, 2, 50, 0.8, 0.9, 0.1, prefixes=(CodecPrefix(OTHER, ID, 512),), file=FILE
)
FULL = Manifest(
    generation=7,
    commit_uuid=ID,
    index_uuid=ID,
    dim=128,
    encoder={"name": "é \u2028", "dim": 128, "details": {"markers": ["[Q]", None]}},
    settings=IndexSettings(bits=2, flat_below_tokens=0, max_segment_passages=5),
    codecs=(replace(LIVE, id=OLD, epoch=1, prefixes=()), LIVE),
    segments=(
        SegmentRef(ID, "coded", 3, 4, 50, 2, ID, 1024, 0.7, 10, 20, FILE),
        SegmentRef(OTHER, "flat", 3, 4, 50, 3, None, 0, None, 10, 20, FILE),
        SegmentRef(OLD, "coded", 3, 4, 50, 2, OLD, 1024, 0.7, 10, 20, FILE),
        SegmentRef(THIRD, "coded", 3, 4, 50, 2, OTHER, 512, 0.7, 10, 20, FILE),
    ),
    tombstones=(TombstoneRef(ID, 1, 2, FILE),),
    next_sequence=40,
    applied_floor=3,
    applied_above=((5, 5), (7, 39)),
)
EMPTY = Manifest(1, ID, ID, 8, None, IndexSettings())


@pytest.mark.parametrize("manifest", [FULL, EMPTY])
def test_round_trip(manifest):
    assert decode_manifest(manifest.encode(), "manifest") == manifest
    held = json.loads(manifest.encode())
    crc = held.pop("crc32c")
    assert held == json.loads(json.dumps(asdict(manifest))) and len(crc) == 8
    assert list(held) == list(asdict(manifest))
    assert manifest.encode() == encode_payload(asdict(manifest))


@pytest.mark.parametrize("value", [{1}, b"bytes", object()])
def test_what_json_cannot_hold(value):
    with pytest.raises(TypeError, match="manifest"):
        replace(EMPTY, encoder={"name": value}).encode()


def test_every_flipped_bit_is_found():
    data = FULL.encode()
    for position in range(len(data)):
        for bit in range(8):
            bad = bytearray(data)
            bad[position] ^= 1 << bit
            with pytest.raises(CorruptIndexError, match="manifest"):
                decode_manifest(bytes(bad), "manifest")


def test_a_manifest_of_many_segments_can_be_read():
    largest = SegmentRef(
        ID, "coded", 2**31, 2**31, 2**40, 2**48, ID, 2**32 - 1, 0.1 + 0.2, 2**48, 2**48, FILE
    )
    manifest = replace(EMPTY, segments=(largest,) * 30_000)
    assert len(manifest.encode()) < MAX_MANIFEST_BYTES == 2**24


@pytest.mark.parametrize("cut", [0, 1, 10, 21, 22, 23, 100, -1])
def test_truncation_is_found(cut):
    with pytest.raises(CorruptIndexError, match="manifest"):
        decode_manifest(FULL.encode()[:cut], "manifest")
    with pytest.raises(CorruptIndexError):
        decode_manifest(FULL.encode() + b"\n", "manifest")


def altered(**changes):
    return encode_payload({**asdict(FULL), **changes})


def in_codec(**changes):
    return altered(codecs=[asdict(FULL.codecs[0]), {**asdict(LIVE), **changes}])


def in_segment(**changes):
    return altered(segments=[{**asdict(FULL.segments[0]), **changes}])


@pytest.mark.parametrize(
    "data",
    [
        altered(generation=0),
        altered(generation=True),
        altered(generation="7"),
        altered(generation=2**60),
        altered(commit_uuid="../../../etc/passwd"),
        altered(index_uuid=ID.upper()),
        altered(dim=0),
        altered(dim=5000),
        altered(encoder=[]),
        altered(settings=None),
        altered(settings={"bits": 3, "flat_below_tokens": 0, "max_segment_passages": 1}),
        altered(codecs={}),
        altered(codecs=[]),
        altered(codecs=[asdict(LIVE)]),
        altered(codecs=[asdict(LIVE), asdict(FULL.codecs[0])]),
        altered(codecs=[asdict(replace(LIVE, id=c * 32, epoch=n)) for n, c in enumerate("cde", 1)]),
        in_codec(bits=True),
        in_codec(mean_cosine="high"),
        in_codec(mean_cosine=1e300),
        in_codec(epoch=1),
        in_codec(id=OLD),
        in_codec(n_embeddings=0),
        in_codec(prefixes=None),
        in_codec(prefixes=[]),
        in_codec(prefixes=[{"id": OTHER, "hash": ID, "n_centroids": 1024}]),
        in_codec(prefixes=[{"id": ID, "hash": ID, "n_centroids": 512}]),
        in_codec(prefixes=[{"id": f"{n:032}", "hash": ID, "n_centroids": n} for n in range(1, 20)]),
        altered(applied_above=None),
        altered(applied_above=[5]),
        altered(applied_above=[[5]]),
        altered(applied_above=[[5, True]]),
        altered(applied_above=[[4, 4]]),
        altered(applied_above=[[6, 5]]),
        altered(applied_above=[[5, 6], [7, 8]]),
        altered(applied_above=[[7, 8], [5, 5]]),
        altered(applied_above=[[2 * n, 2 * n] for n in range(4, 5000)], next_sequence=10**6),
        altered(next_sequence=39),
        altered(segments={}),
        altered(segments=[1]),
        altered(tombstones=None),
        altered(tombstones=[{"id": ID}]),
        altered(format_version=0),
        altered(format_version="1"),
        altered(required_features="none"),
        altered(required_features=[1]),
        altered(next_sequence=-1),
        in_segment(id="..", kind="flat"),
        in_segment(id=f"{ID}/x"),
        in_segment(kind="other"),
        in_segment(codec=None),
        in_segment(n_centroids=0),
        in_segment(n_centroids=512),
        in_segment(codec=THIRD),
        in_segment(centroid_cosine=None),
        altered(segments=[asdict(FULL.segments[0])] * 2),
        in_segment(n_documents=0),
        in_segment(n_tokens=-5),
        in_segment(n_passages=2**40),
        in_segment(arrays_bytes=1.5),
        in_segment(checksums={"size_bytes": 1, "crc32c": 2**32}),
        encode_payload({}),
    ],
)
def test_unusable_fields(data):
    with pytest.raises(CorruptIndexError, match="manifest"):
        decode_manifest(data, "manifest")


def test_missing_fields_are_named():
    for key in asdict(FULL):
        payload = {k: v for k, v in asdict(FULL).items() if k != key}
        with pytest.raises(CorruptIndexError, match=key):
            decode_manifest(encode_payload(payload), "manifest")


def test_newer_formats_are_refused_by_name():
    with pytest.raises(UnsupportedFormatError, match=r"version 2.*newer"):
        decode_manifest(replace(FULL, format_version=2).encode(), "manifest")
    with pytest.raises(UnsupportedFormatError, match="time-travel"):
        decode_manifest(replace(FULL, required_features=("time-travel",)).encode(), "manifest")


def test_unknown_fields_are_left_alone():
    assert decode_manifest(altered(hint="from a newer Weft"), "manifest") == FULL


@given(payload=st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
@settings(max_examples=50, deadline=None)
def test_noise_with_a_valid_checksum(payload):
    for noise in ({"generation": payload}, {**asdict(FULL), "segments": payload}):
        data = encode_payload(noise)
        try:
            decode_manifest(data, "manifest")
        except (CorruptIndexError, UnsupportedFormatError):
            continue
        assert payload == []


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 3},
        {"bits": True},
        {"bits": "4"},
        {"flat_below_tokens": -1},
        {"flat_below_tokens": 1.5},
        {"max_segment_passages": 0},
    ],
)
def test_settings_are_checked(options):
    with pytest.raises(InvalidParameterError, match=next(iter(options))):
        IndexSettings(**options)
