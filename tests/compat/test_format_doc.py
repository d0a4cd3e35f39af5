"""The format is what docs/format.md says: a reader written from it finds what was added."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from independent_reader import Index, crc32c
from plaid_oracle import Coder

HERE = Path(__file__).parent
DOCUMENT = (HERE.parents[1] / "docs" / "format.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def index():
    return Index(HERE / "format-1" / "index")


@pytest.fixture(scope="module")
def expected():
    return json.loads((HERE / "format-1" / "expected.json").read_text(encoding="utf-8"))


def vectors(document, dim):
    return [
        np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, dim)
        for text in document["vectors"]
    ]


def test_the_reader_knows_nothing_of_weft():
    source = (HERE.parent / "support" / "independent_reader.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^(?:import|from) (\w+)", source, re.M))
    assert imported == {"hashlib", "json", "sqlite3", "itertools", "pathlib", "numpy"}


def test_castagnoli():
    assert crc32c(b"123456789") == 0xE3069283


def test_the_documents(index, expected):
    found = index.documents()
    assert found.keys() == expected["documents"].keys()
    for id, document in expected["documents"].items():
        for part in ("text", "language", "metadata", "kind"):
            assert found[id][part] == document[part]
        spans = [[start, end] for start, end, _ in found[id]["passages"]]
        assert spans == document["spans"]


def test_the_flat_vectors(index, expected):
    found = index.documents()
    flat = [id for id, document in found.items() if document["kind"] == "flat"]
    assert flat
    for id in flat:
        given = vectors(expected["documents"][id], expected["dim"])
        for (_, _, rows), original in zip(found[id]["passages"], given, strict=True):
            assert np.array_equal(rows, original.astype(np.float16))


def test_the_coded_vectors(index, expected):
    """Codes are the nearest centroids, residuals the buckets: compressed anew from the original."""
    n_compared = 0
    for segment in (s for s in index.segments if s.ref["kind"] == "coded"):
        parts = index._codec_of(segment.ref).parts
        coder = Coder(
            parts["centroids"].astype(np.float32)[: segment.ref["n_centroids"]],
            parts["bucket_cutoffs"],
            parts["bucket_weights"],
            *parts["inverse_norm_range"].astype(float),
        )
        for id, document in segment.living().items():
            given = vectors(expected["documents"][id], expected["dim"])
            for (_, _, rows), original in zip(document["passages"], given, strict=True):
                kept = [coder.decode(*coder.encode(v)) for v in (original, as_flat(original))]
                assert any(np.allclose(rows, way, atol=1e-6) for way in kept)
                n_compared += len(rows)
    assert n_compared > 300


def as_flat(rows):
    """As a flat segment had kept them before."""
    return rows.astype(np.float16).astype(np.float32)


def test_the_codecs(index):
    manifest = index.manifest
    epochs = [codec["epoch"] for codec in manifest["codecs"]]
    assert epochs == [1, 2]
    (prefix,) = manifest["codecs"][0]["prefixes"]
    made_with = {s["codec"]: s["n_centroids"] for s in manifest["segments"] if s["codec"]}
    assert made_with[prefix["id"]] == prefix["n_centroids"]
    for codec in manifest["codecs"]:
        assert made_with[codec["id"]] == codec["n_centroids"]


def test_the_inverted_lists(index):
    for segment in index.segments:
        if segment.ref["kind"] == "flat":
            continue
        pids = np.repeat(np.arange(segment.ref["n_passages"]), segment.arrays["doclens"])
        lists = {}
        for code, pid in zip(segment.arrays["codes"].tolist(), pids.tolist(), strict=True):
            lists.setdefault(code, set()).add(pid)
        assert segment.inverted_lists() == {code: sorted(found) for code, found in lists.items()}
    sparse = ["ivf_centroids" in s.arrays for s in index.segments if s.ref["kind"] == "coded"]
    assert set(sparse) == {True, False}


def test_the_ids(index):
    for segment in index.segments:
        assert segment.ids == [row[1] for row in segment.documents]
        assert (np.diff(segment.arrays["id_hashes"].astype(object)) >= 0).all()
        assert [segment.find(id) for id in segment.ids] == list(range(len(segment.ids)))
        strangers = [segment.find(f"stranger-{n}") for n in range(500)]
        assert strangers == [None] * 500


def test_the_metadata(index):
    """Every value of every document, under its dotted key; lists also by element."""
    for segment in index.segments:
        rows = {tuple(row) for row in segment.metadata}
        for docno, _, _, metadata, _ in segment.documents:
            values = json.loads(metadata)
            if not values:
                continue
            for wanted in (
                ("number", 0, 2, values["number"], docno),
                ("even", 0, 1, int(values["even"]), docno),
                ("none", 0, 0, 0, docno),
                ("deep.name", 0, 3, values["deep"]["name"], docno),
                ("tags", 1, 3, values["tags"][0], docno),
                ("tags", 1, 2, values["tags"][1], docno),
            ):
                assert wanted in rows
            assert {(r[1], r[2]) for r in rows if r[0] == "deep" and r[4] == docno} == {(0, 5)}
            assert {(r[1], r[2]) for r in rows if r[0] == "deep.list"} == {(0, 4)}


def test_the_order(index):
    manifest = index.manifest
    assert manifest["applied_floor"] == 6 and manifest["applied_above"] == [[8, 9], [11, 12]]
    assert manifest["next_sequence"] == 13 and index.claims == [7, 10]
    assert index.deletions["d10/Straße"] == 9 and index.deletions["nobody"] == 12
    sequences = {id: document["sequence"] for id, document in index.documents().items()}
    assert sequences["d01/warp"] == 1 and sequences["d11/Straße"] == 11
    assert max(sequences.values()) < manifest["next_sequence"]


def test_every_name_stands_in_the_document(index):
    """A field, tensor or column that the document does not name fails here."""
    manifest = index.manifest
    names = {*manifest, *manifest["settings"], *manifest["encoder"]}
    for part in ("codecs", "segments", "tombstones"):
        names |= {name for entry in manifest[part] for name in entry}
    names |= {name for codec in manifest["codecs"] for ref in codec["prefixes"] for name in ref}
    names |= {name for segment in index.segments for name in segment.arrays}
    names |= {name for codec in index.codecs for name in codec.parts}
    names |= {"cell_centroids", "cell_offsets", "docno", "ordinal", "role", "kind", "value"}
    missing = sorted(name for name in names if f"`{name}`" not in DOCUMENT)
    assert not missing
